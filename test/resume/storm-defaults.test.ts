/** With the settings as they are: what the client is known to have holds the purger, too. */
import t from 'tap'
import { seedOf } from './seed.ts'
import { survives } from './storm-checks.ts'

t.setTimeout(120_000)
const seed = seedOf(t)

t.test('defaults, with flow control and a slow consumer', async t => {
  await survives(t, { seed, faults: 60, idleMs: 2, client: { bufferBytes: 131_072 } })
})

t.test('defaults, without flow control, under an id and an eager purger', async t => {
  const flags = ['--purge-age', '0', '--purge-interval', '50ms']
  const client = { bufferBytes: 0, backfillResume: { id: 'the-storm', grace: 30 } }
  await survives(t, { seed, flags, faults: 60, client })
})
