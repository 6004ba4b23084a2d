import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { durable, openBuckets, read, set, untilJournalAnswers } from '../support/bucket.ts'
import { checkStore } from '../support/check-store.ts'
import { damageLeaves } from '../support/damage-leaves.ts'
import {
  assertRead,
  copiesIn,
  documents,
  environmentIn,
  fileIn,
  fileLog,
  large,
  sizeIn,
  write,
} from './mostly-free.ts'

const settings = { environments: 1 }

/** A store of documents that have been large and are small now; closed. */
async function makeStore(t: Test): Promise<string> {
  const directory = t.testdir()
  const { buckets, bucket } = await openBuckets(t, directory, { settings })
  await write(bucket, large)
  await write(bucket, 'small')
  await buckets.close()
  t.ok(sizeIn(directory) > documents * large.length, 'the file is as large as it has been')
  return directory
}

t.test('a file of which most is free is small after a start, with all that was in it', async t => {
  const directory = await makeStore(t)
  const { log, lines } = fileLog()
  const { buckets, bucket } = await openBuckets(t, directory, { settings, log })
  t.ok(sizeIn(directory) < 2 ** 20, `${sizeIn(directory)} bytes`)
  t.same(lines, ['a file that was mostly free is as small as it can be'])
  assertRead(t, bucket, 'small')
  for (let vbid = 0; vbid < 16; vbid++) {
    const { highSeqno, failoverLog } = bucket.vbucket(vbid)!
    t.equal(highSeqno, (2 * documents) / 16)
    t.equal(failoverLog.entries.length, 1, 'its history is the same')
  }
  await write(bucket, 'written to the new file')
  await buckets.close()
  t.same(await checkStore(directory), [])
  const again = await openBuckets(t, directory, { settings, log })
  assertRead(t, again.bucket, 'written to the new file')
  t.equal(lines.length, 1, 'there was nothing left to do')
})

t.test('a file with more in use than the limit stays as it is', async t => {
  const directory = await makeStore(t)
  const { bucket } = await openBuckets(t, directory, {
    settings: { ...settings, compactBytesMax: 0 },
  })
  t.ok(sizeIn(directory) > documents * large.length)
  assertRead(t, bucket, 'small')
})

t.test('what only the journal has after a crash goes into the new file', async t => {
  const directory = await makeStore(t)
  const kept = { ...settings, compactBytesMax: 0, commitIntervalSeconds: 60 }
  const { bucket } = await openBuckets(t, directory, { settings: kept })
  const vbucket = bucket.vbucket(0)!
  await untilJournalAnswers(bucket, vbucket)
  set(bucket, vbucket, 'durable', 'in the journal')
  await durable(bucket)
  t.ok(vbucket.persistedSeqno < vbucket.highSeqno, 'a commit has not come by')
  const crashed = `${directory}-crashed`
  t.teardown(() => rmSync(crashed, { recursive: true, force: true }))
  cpSync(directory, crashed, { recursive: true, filter: path => !path.endsWith('LOCK') })
  const again = await openBuckets(t, crashed, { settings })
  t.ok(sizeIn(crashed) < 2 ** 20, `${sizeIn(crashed)} bytes`)
  t.equal(read(again.bucket, again.bucket.vbucket(0)!, 'durable'), 'in the journal')
  assertRead(t, again.bucket, 'small')
})

t.test('what a crash has left of a copy is removed', async t => {
  const directory = await makeStore(t)
  const copy = join(environmentIn(directory), 'compacted-crashed')
  mkdirSync(copy)
  writeFileSync(join(copy, 'data.mdb'), 'half a file')
  const kept = { ...settings, compactBytesMax: 0 }
  const first = await openBuckets(t, directory, { settings: kept })
  t.notOk(existsSync(copy))
  await first.buckets.close()
  mkdirSync(copy)
  writeFileSync(join(copy, 'data.mdb'), 'half a file')
  const { bucket } = await openBuckets(t, directory, { settings })
  t.notOk(existsSync(copy))
  t.ok(sizeIn(directory) < 2 ** 20)
  assertRead(t, bucket, 'small')
})

t.test('a file with a page that LMDB cannot read stays as it is, and is opened', async t => {
  const directory = await makeStore(t)
  const size = sizeIn(directory)
  damageLeaves(fileIn(directory), 'small')
  const { log, lines } = fileLog()
  const { bucket, buckets } = await openBuckets(t, directory, { settings, log })
  t.same(lines, ['a file that is mostly free could not be written anew'])
  t.same(copiesIn(directory), [])
  t.throws(() => read(bucket, bucket.vbucket(0)!, 'document-0'))
  t.equal(sizeIn(directory), size)
  await buckets.close()
})
