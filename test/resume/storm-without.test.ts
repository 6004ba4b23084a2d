/** The same without `backfill_resume`: shows that the storm is one. */
import t from 'tap'
import { seedOf } from './seed.ts'
import { report } from './storm-checks.ts'
import { storm } from './storm.ts'

t.setTimeout(120_000)
const seed = seedOf(t)

t.test('without backfill_resume the client has to roll back', async t => {
  const client = { bufferBytes: 131_072, backfillResume: false }
  const result = await storm(t, { seed, faults: 70, client })
  report(t, result)
  t.same(result.problems, [], 'the stream kept its promises')
  t.same(result.differences.slice(0, 5), [], 'the copy equals the bucket in the end')
  t.ok(result.rollbacks.server > 0, `${result.rollbacks.server} rollbacks`)
  t.ok(result.bytes.receivedAgain > 0, `${result.bytes.receivedAgain} bytes arrived twice`)
})
