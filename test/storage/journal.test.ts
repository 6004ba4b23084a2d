import { strict as assert } from 'node:assert'
import { cpSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { systemClock, type Clock } from '../../src/clock.ts'
import { openEnvironment } from '../../src/storage/environment.ts'
import { encodeBlock, journalFileBytes, readBlocks } from '../../src/storage/journal-format.ts'
import { replayJournal } from '../../src/storage/journal-replay.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import {
  durable,
  openBuckets,
  read,
  remove,
  set,
  smallSettings,
  storing,
  untilJournalAnswers,
} from '../support/bucket.ts'
import { checkStore } from '../support/check-store.ts'

/** So long that within a test nothing gets to LMDB by itself. */
const settings = { environments: 2, commitIntervalSeconds: 60 }

function soon(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, 5))
}

/** A bucket whose journal takes what is written from now on; the key `first` is in LMDB. */
async function journalled(t: Test, directory: string, clock: Clock = systemClock): Promise<Bucket> {
  const { bucket } = await openBuckets(t, directory, { settings, clock })
  set(bucket, bucket.vbucket(1)!, 'first', 'in LMDB')
  await bucket.whenPersisted(1, 1)
  await untilJournalAnswers(bucket, bucket.vbucket(9)!)
  return bucket
}

/** What a crash would leave now. */
function crashed(directory: string): string {
  const copy = `${directory}-copy`
  cpSync(directory, copy, { recursive: true, filter: path => !path.endsWith('LOCK') })
  return copy
}

/** The same, opened. */
async function afterCrash(t: Test, directory: string, harm = (_journal: string) => {}) {
  const copy = crashed(directory)
  harm(join(copy, 'buckets', 'default', 'journal-0'))
  const { bucket, buckets } = await openBuckets(t, copy, { settings })
  return { bucket, buckets, copy }
}

t.test('what is durable before LMDB has it survives a crash, in its history', async t => {
  const directory = t.testdir({ live: {} })
  const live = join(directory, 'live')
  const bucket = await journalled(t, live)
  const vbucket = bucket.vbucket(1)!
  set(bucket, vbucket, 'second', 'in the journal')
  set(bucket, bucket.vbucket(2)!, 'other', 'elsewhere')
  await durable(bucket)
  remove(bucket, vbucket, 'first')
  await durable(bucket)
  t.equal(vbucket.persistedSeqno, 1, 'LMDB does not have it, and what is said of seqnos is of LMDB')

  const after = await afterCrash(t, live)
  const found = after.bucket.vbucket(1)!
  t.equal(found.highSeqno, 3)
  t.equal(found.persistedSeqno, 3)
  t.equal(read(after.bucket, found, 'second'), 'in the journal')
  t.equal(read(after.bucket, found, 'first'), undefined)
  t.equal(found.tombstoneCount, 1)
  t.equal(read(after.bucket, after.bucket.vbucket(2)!, 'other'), 'elsewhere')
  const [newest, before] = found.failoverLog.entries
  t.equal(newest!.seqno, 3, 'a new history begins behind it')
  t.equal(before!.vbuuid, vbucket.failoverLog.vbuuid)
  await after.buckets.close()
  t.same(await checkStore(after.copy), [])
})

t.test('a wait for a seqno is one for LMDB, though the journal has it', async t => {
  const bucket = await journalled(t, t.testdir())
  const vbucket = bucket.vbucket(1)!
  set(bucket, vbucket, 'second', 'x')
  await durable(bucket)
  t.equal(vbucket.persistedSeqno, 1)
  await bucket.whenPersisted(1, 2)
  t.equal(vbucket.persistedSeqno, 2)
})

t.test('what expires and what was deleted comes back with its time', async t => {
  const directory = t.testdir({ live: {} })
  const live = join(directory, 'live')
  const bucket = await journalled(t, live)
  const vbucket = bucket.vbucket(1)!
  const request = storing('mortal', 'v')
  request.expiry = Math.floor(Date.now() / 1000) + 5000
  t.equal(bucket.documents.store(vbucket, request), 0)
  set(bucket, vbucket, 'twice', '1')
  set(bucket, vbucket, 'twice', '2')
  remove(bucket, vbucket, 'first')
  await durable(bucket)
  const before = Math.floor(Date.now() / 1000)
  const after = await afterCrash(t, live)
  const found = after.bucket.vbucket(1)!
  t.equal(read(after.bucket, found, 'mortal'), 'v')
  t.equal(read(after.bucket, found, 'twice'), '2')
  const compact = (purgeBeforeSeconds: number) =>
    after.bucket.compact(1, { purgeBeforeSeconds, purgeBeforeSeqno: 0, dropDeletes: false })
  set(after.bucket, found, 'behind', 'the tombstone')
  await compact(before)
  t.equal(found.tombstoneCount, 1, 'its age began with the replay')
  await compact(before + 100)
  t.equal(found.tombstoneCount, 0)
  await after.buckets.close()
  t.same(await checkStore(after.copy), [], 'its expiry is in its table')
})

t.test('a start that is killed between two environments is gone on with by the next', async t => {
  const directory = t.testdir({ live: {}, aside: {} })
  const live = join(directory, 'live')
  const bucket = await journalled(t, live)
  for (const vbid of [1, 2, 1, 2]) {
    set(bucket, bucket.vbucket(vbid)!, `key-${vbid}`, 'v')
    await durable(bucket)
  }
  remove(bucket, bucket.vbucket(2)!, 'key-2')
  await durable(bucket)
  const copy = crashed(live)
  const files = join(copy, 'buckets', 'default')
  for (const name of ['journal-0', 'journal-1']) {
    cpSync(join(files, name), join(directory, 'aside', name))
  }
  const environment = openEnvironment({
    ...smallSettings,
    directory: join(files, 'environment-0'),
  })
  t.equal(replayJournal(join(directory, 'aside'), [environment], 0), 3)
  await environment.close()
  const { bucket: again, buckets } = await openBuckets(t, copy, { settings })
  const [one, two] = [again.vbucket(1)!, again.vbucket(2)!]
  t.same([one.highSeqno, one.itemCount], [3, 2])
  t.same([two.highSeqno, two.itemCount, two.tombstoneCount], [3, 0, 1])
  t.equal(two.failoverLog.entries[0]!.seqno, 3)
  await buckets.close()
  t.same(await checkStore(copy), [])
})

t.test('a block that is not whole ends what the journal brings', async t => {
  const directory = t.testdir({ live: {} })
  const live = join(directory, 'live')
  const bucket = await journalled(t, live)
  const vbucket = bucket.vbucket(1)!
  for (const key of ['a', 'b', 'c']) {
    set(bucket, vbucket, key, key.repeat(100))
    await durable(bucket)
  }
  const { bucket: after } = await afterCrash(t, live, journal => {
    const bytes = readFileSync(journal)
    bytes[bytes.indexOf('b'.repeat(100)) + 50]! ^= 1
    writeFileSync(journal, bytes)
  })
  t.equal(read(after, after.vbucket(1)!, 'a'), 'a'.repeat(100))
  t.equal(read(after, after.vbucket(1)!, 'b'), undefined)
  t.equal(read(after, after.vbucket(1)!, 'c'), undefined, 'nothing behind a gap')
})

t.test('what a vbucket had in an earlier life does not come back', async t => {
  const directory = t.testdir({ live: {} })
  const live = join(directory, 'live')
  const bucket = await journalled(t, live)
  set(bucket, bucket.vbucket(1)!, 'old', 'of the life before')
  set(bucket, bucket.vbucket(2)!, 'old', 'of the life before')
  await durable(bucket)
  await bucket.deleteVbucket(2)
  await bucket.setState(2, VbucketState.active)
  set(bucket, bucket.vbucket(2)!, 'new', 'of this one')
  await durable(bucket)
  t.equal(bucket.vbucket(2)!.persistedSeqno, 0, 'the journal has it')
  const removed = await afterCrash(t, live)
  t.equal(read(removed.bucket, removed.bucket.vbucket(1)!, 'old'), 'of the life before')
  t.equal(read(removed.bucket, removed.bucket.vbucket(2)!, 'old'), undefined)
  t.equal(read(removed.bucket, removed.bucket.vbucket(2)!, 'new'), 'of this one')
  t.equal(removed.bucket.vbucket(2)!.highSeqno, 1)
  await removed.buckets.close()

  await bucket.flush()
  const emptied = await afterCrash(t, live)
  t.equal(emptied.bucket.vbucket(1)!.highSeqno, 0)
  t.equal(read(emptied.bucket, emptied.bucket.vbucket(1)!, 'old'), undefined)
  await emptied.buckets.close()
  t.same(await checkStore(emptied.copy), [])
})

t.test('while a vbucket is made or removed, durable is what is committed', async t => {
  const bucket = await journalled(t, t.testdir())
  const vbucket = bucket.vbucket(1)!
  const changes = [
    () => bucket.setState(3, VbucketState.replica),
    () => bucket.deleteVbucket(3),
    () => bucket.setState(3, VbucketState.active),
  ]
  for (const change of changes) {
    const changed = change()
    set(bucket, vbucket, 'first', 'again')
    await durable(bucket)
    t.equal(vbucket.persistedSeqno, vbucket.highSeqno)
    await changed
  }
  set(bucket, vbucket, 'first', 'again')
  await durable(bucket)
  t.equal(vbucket.persistedSeqno, vbucket.highSeqno - 1, 'then the journal goes on')
})

t.test('files that are used again bring what is newest, and LMDB follows in time', async t => {
  const directory = t.testdir({ live: {} })
  const live = join(directory, 'live')
  const bucket = await journalled(t, live)
  const vbucket = bucket.vbucket(1)!
  const padding = 'x'.repeat(1_000_000)
  const count = Math.ceil((3 * journalFileBytes) / padding.length)
  for (let i = 0; i < count; i++) {
    set(bucket, vbucket, `key-${i % 50}`, `${i}:${padding}`)
    await durable(bucket)
  }
  t.ok(vbucket.persistedSeqno > count / 2, 'nobody but the journal has asked for commits')
  const after = await afterCrash(t, live, journal => {
    const [first] = [...readBlocks(readFileSync(journal))]
    t.ok(first!.sequence > 1, 'it has been used again')
  })
  const found = after.bucket.vbucket(1)!
  t.equal(found.highSeqno, count + 1)
  for (let i = count - 50; i < count; i++) {
    t.equal(read(after.bucket, found, `key-${i % 50}`), `${i}:${padding}`)
  }
  await after.buckets.close()
  t.same(await checkStore(after.copy), [])
})

t.test(
  'beside durable writes a commit is put off, and what gathered goes to the journal',
  async t => {
    const directory = t.testdir({ live: {} })
    const live = join(directory, 'live')
    const clock = new ManualClock()
    const bucket = await journalled(t, live, clock)
    const vbucket = bucket.vbucket(1)!
    set(bucket, vbucket, 'second', 'somebody waits')
    await durable(bucket)
    set(bucket, vbucket, 'third', 'nobody waits')
    clock.advance(60_000)
    const journal = join(live, 'buckets', 'default', 'journal-0')
    while (!readFileSync(journal).includes('nobody waits')) await soon()
    t.equal(vbucket.persistedSeqno, 1)
    const after = await afterCrash(t, live)
    t.equal(read(after.bucket, after.bucket.vbucket(1)!, 'third'), 'nobody waits')
    clock.advance(60_000)
    while (vbucket.persistedSeqno < 3) await soon()
    t.pass('once nobody waits any more, the next interval ends with a commit')
  },
)

t.test('a clean stop leaves nothing in the journal', async t => {
  const directory = t.testdir()
  const bucket = await journalled(t, directory)
  set(bucket, bucket.vbucket(1)!, 'second', 'x')
  await durable(bucket)
  await bucket.close()
  for (const name of ['journal-0', 'journal-1']) {
    t.equal(statSync(join(directory, 'buckets', 'default', name)).size, 0)
  }
})

t.test('of a file that was cut anywhere, the whole blocks are read', async t => {
  const block = fc.record({
    vbuuids: fc.array(fc.tuple(fc.nat(1023), fc.bigInt(0n, 2n ** 64n - 1n)), { maxLength: 5 }),
    entries: fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 3 }),
  })
  const property = fc.property(fc.array(block, { maxLength: 6 }), fc.nat(100), (blocks, share) => {
    const pieces = blocks.map(({ vbuuids, entries }, index) =>
      encodeBlock({ epoch: 7n, sequence: index + 1, vbuuids: new Map(vbuuids) }, entries),
    )
    const whole = Buffer.concat([...pieces, Buffer.alloc(64)])
    assert.equal([...readBlocks(whole)].length, blocks.length)
    const cut = Math.floor((Buffer.concat(pieces).length * share) / 100)
    const found = [...readBlocks(whole.subarray(0, cut))]
    let end = 0
    const expected = pieces.filter(piece => (end += piece.length) <= cut)
    assert.equal(found.length, expected.length)
    for (const [index, { entries, vbuuids }] of found.entries()) {
      assert.deepEqual(entries, Buffer.concat(blocks[index]!.entries))
      assert.deepEqual(vbuuids, new Map(blocks[index]!.vbuuids))
    }
  })
  fc.assert(property)
  t.pass()
})

t.test('blocks of an earlier use, or of another process, end what is read', async t => {
  const block = (epoch: bigint, sequence: number, text: string) =>
    encodeBlock({ epoch, sequence, vbuuids: new Map() }, [Buffer.from(text)])
  const read = (...blocks: Buffer[]) =>
    [...readBlocks(Buffer.concat(blocks))].map(({ entries }) => entries.toString())
  t.same(read(block(1n, 8, 'a'), block(1n, 9, 'b')), ['a', 'b'])
  t.same(read(block(1n, 8, 'a'), block(1n, 3, 'b')), ['a'])
  t.same(read(block(1n, 8, 'a'), block(2n, 9, 'b')), ['a'])
})
