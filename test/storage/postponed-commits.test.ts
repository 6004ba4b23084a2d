import { readdirSync } from 'node:fs'
import t, { type Test } from 'tap'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { openBuckets, set, untilJournalAnswers } from '../support/bucket.ts'

const intervalSeconds = 60
const settings = { environments: 2, commitIntervalSeconds: intervalSeconds }
/** Enough to be worth putting off. */
const large = 'x'.repeat(100_000)

function soon(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, 5))
}

async function scene(t: Test) {
  const clock = new ManualClock()
  const directory = t.testdir()
  const { bucket } = await openBuckets(t, directory, { settings, clock })
  const interval = async () => {
    clock.advance(intervalSeconds * 1000)
    await soon()
  }
  return { bucket, vbucket: bucket.vbucket(1)!, directory, interval }
}

async function sceneWithJournal(t: Test) {
  const made = await scene(t)
  await untilJournalAnswers(made.bucket, made.bucket.vbucket(9)!)
  return made
}

t.test('a commit that nobody waits for is put off while there is more and more', async t => {
  const { bucket, vbucket, interval } = await sceneWithJournal(t)
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
  const { bucket, vbucket, interval } = await sceneWithJournal(t)
  set(bucket, vbucket, 'first', large)
  let intervals = 0
  for (; vbucket.persistedSeqno === 0 && intervals < 1000; intervals++) {
    set(bucket, vbucket, 'second', `${intervals}`)
    await interval()
  }
  t.ok(intervals > 290 && intervals < 400, `after ${intervals} intervals`)
})

t.test('a journal that is there takes little, too, but not the least', async t => {
  const { bucket, vbucket, interval } = await sceneWithJournal(t)
  // That somebody has waited counts for one more interval.
  for (let i = 0; i < 10; i++) await interval()
  set(bucket, vbucket, 'least', 'x')
  await interval()
  while (vbucket.persistedSeqno < 1) await soon()
  set(bucket, vbucket, 'little', 'x'.repeat(2000))
  for (let i = 0; i < 4; i++) await interval()
  t.equal(vbucket.persistedSeqno, 1)
  while (vbucket.persistedSeqno < 2) await interval()
  t.pass('it comes when nothing is added')
})

t.test('a journal is made for a steady load, not for bursts of a few documents', async t => {
  const { bucket, vbucket, directory, interval } = await scene(t)
  const hasJournal = () =>
    readdirSync(directory, { recursive: true }).some(name => String(name).includes('journal-'))
  const committed = async (bytes: number) => {
    const before = vbucket.persistedSeqno
    set(bucket, vbucket, 'document', 'x'.repeat(bytes))
    await interval()
    while (vbucket.persistedSeqno === before) await soon()
  }
  for (let burst = 0; burst < 3; burst++) {
    for (let i = 0; i < 9; i++) await committed(5000)
    await committed(10)
  }
  t.notOk(hasJournal())
  for (let i = 0; i < 10; i++) await committed(5000)
  let isPutOff = false
  for (let intervals = 0; !isPutOff && intervals < 1000; intervals++) {
    const before = vbucket.persistedSeqno
    set(bucket, vbucket, 'document', 'x'.repeat(5000))
    await interval()
    await soon()
    isPutOff = hasJournal() && vbucket.persistedSeqno === before
  }
  t.ok(hasJournal())
  t.ok(isPutOff)
})
