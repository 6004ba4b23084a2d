/** A client that does not know of `backfill_resume`, and a server that gives it to all. */
import t from 'tap'
import { seedOf } from './seed.ts'
import { survives } from './storm-checks.ts'

t.setTimeout(120_000)
const seed = seedOf(t)

t.test('given to a client that did not ask, pin alone', async t => {
  const flags = ['--backfill-resume-default', 'true', '--purge-hold-max', '0']
  const client = { bufferBytes: 131_072, backfillResume: false }
  await survives(t, { seed, flags, faults: 50, client })
})
