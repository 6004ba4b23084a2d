import t from 'tap'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { openBuckets, set, untilJournalAnswers } from '../support/bucket.ts'

const intervalSeconds = 60
const settings = { environments: 2, commitIntervalSeconds: intervalSeconds }
/** Enough to be worth putting off. */
const large = 'x'.repeat(100_000)

function soon(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, 5))
}

t.test('a commit that nobody waits for is put off while there is more and more', async t => {
  const clock = new ManualClock()
  const { bucket } = await openBuckets(t, t.testdir(), { settings, clock })
  const vbucket = bucket.vbucket(1)!
  await untilJournalAnswers(bucket, bucket.vbucket(9)!)
  const interval = async () => {
    clock.advance(intervalSeconds * 1000)
    await soon()
  }
  set(bucket, vbucket, 'first', large)
  for (let i = 0; i < 100; i++) {
    set(bucket, vbucket, `key-${i}`, 'more')
    await interval()
  }
  t.equal(vbucket.persistedSeqno, 0, 'a hundred times')
  await interval()
  t.equal(vbucket.persistedSeqno, 0, 'a pause is not the end')
  for (let i = 0; i < 10; i++) await interval()
  while (vbucket.persistedSeqno < 101) await soon()
  t.pass('it comes soon after the last of them')
})

t.test('it is not put off for ever', async t => {
  const clock = new ManualClock()
  const { bucket } = await openBuckets(t, t.testdir(), { settings, clock })
  const vbucket = bucket.vbucket(1)!
  await untilJournalAnswers(bucket, bucket.vbucket(9)!)
  set(bucket, vbucket, 'first', large)
  let intervals = 0
  for (; vbucket.persistedSeqno === 0 && intervals < 1000; intervals++) {
    set(bucket, vbucket, 'second', `${intervals}`)
    clock.advance(intervalSeconds * 1000)
    await soon()
  }
  t.ok(intervals > 290 && intervals < 400, `after ${intervals} intervals`)
})
