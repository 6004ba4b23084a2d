import { strict as assert } from 'node:assert'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import {
  committed,
  documentKey,
  openBuckets,
  read,
  remove,
  set,
  storing,
} from '../support/bucket.ts'
import { checkStore } from '../support/check-store.ts'
import { wholeForm } from '../support/frame-form.ts'

t.test('what was written is read back from the log and from disk', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(3)!
  t.equal(set(bucket, vbucket, 'a', 'one'), 1)
  t.equal(read(bucket, vbucket, 'a'), 'one')
  await committed(bucket)
  t.equal(vbucket.persistedSeqno, 1)
  // Push it out of memory: the log keeps 1 MiB.
  for (let i = 0; i < 40; i++) set(bucket, vbucket, `fill-${i}`, 'x'.repeat(60_000))
  await committed(bucket)
  t.ok(bucket.changes.lowestSeqno(3, vbucket.highSeqno) > 1, 'the log has forgotten the first')
  t.equal(read(bucket, vbucket, 'a'), 'one')
  t.equal(vbucket.itemCount, 41)
  t.equal(read(bucket, bucket.vbucket(5)!, 'a'), undefined, 'other vbuckets are apart')
})

t.test('changes are gathered for one commit while nobody waits for them', async t => {
  const clock = new ManualClock()
  const settings = { commitIntervalSeconds: 1, unflushedSoftBytes: 100_000 }
  const { bucket } = await openBuckets(t, t.testdir(), { settings, clock })
  const vbucket = bucket.vbucket(3)!
  const turns = async () => {
    for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve))
  }
  const { commits } = bucket.statistics()
  const persisted = async (seqno: number) => {
    while (vbucket.persistedSeqno < seqno) await new Promise(resolve => setTimeout(resolve, 1))
  }
  set(bucket, vbucket, 'a', '1')
  await turns()
  set(bucket, vbucket, 'b', '2')
  await turns()
  t.equal(vbucket.persistedSeqno, 0, 'it waits for more')
  clock.advance(1000)
  await persisted(2)
  t.equal(bucket.statistics().commits, commits + 1, 'both in one')

  set(bucket, vbucket, 'c', '3')
  await bucket.whenPersisted(3, 3)
  t.equal(vbucket.persistedSeqno, 3, 'who waits is not kept waiting')

  const later = bucket.whenPersisted(3, 4)
  set(bucket, vbucket, 'd', '4')
  await later
  t.equal(vbucket.persistedSeqno, 4, 'nor who waits for what is still to come')

  set(bucket, vbucket, 'e', 'x'.repeat(60_000))
  await persisted(5)
  t.pass('nor what is so much that writers would have to wait soon')
})

t.test('a bucket that was closed opens with what it had', async t => {
  const directory = t.testdir()
  const first = await openBuckets(t, directory)
  const vbucket = first.bucket.vbucket(1)!
  const vbuuid = vbucket.failoverLog.vbuuid
  for (let i = 0; i < 100; i++) set(first.bucket, vbucket, `key-${i}`, `value ${i}`)
  for (let i = 0; i < 50; i++) remove(first.bucket, vbucket, `key-${i}`)
  const { maxCas } = vbucket
  await first.buckets.close()
  const { bucket } = await openBuckets(t, directory)
  const again = bucket.vbucket(1)!
  t.equal(again.highSeqno, 150)
  t.equal(again.itemCount, 50)
  t.equal(again.tombstoneCount, 50)
  t.equal(again.maxCas, maxCas)
  t.equal(again.failoverLog.vbuuid, vbuuid, 'a clean stop goes on in the same history')
  t.equal(read(bucket, again, 'key-7'), undefined)
  t.equal(read(bucket, again, 'key-77'), 'value 77')
})

t.test('tombstones are purged as far as the holds allow, never the newest change', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(2)!
  for (let i = 0; i < 10; i++) set(bucket, vbucket, `key-${i}`, 'v')
  for (let i = 0; i < 10; i++) remove(bucket, vbucket, `key-${i}`)
  bucket.holds.set(2, 'client', 14, Infinity, true)
  const everything = { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true }
  await bucket.compact(2, everything)
  t.equal(vbucket.purgeSeqno, 14)
  t.equal(vbucket.tombstoneCount, 6)
  bucket.holds.release(2, 'client')
  await bucket.compact(2, everything)
  t.equal(vbucket.purgeSeqno, 19)
  t.equal(vbucket.tombstoneCount, 1)
  t.equal(set(bucket, vbucket, 'key-0', 'again'), 21)
  await committed(bucket)
  t.equal(read(bucket, vbucket, 'key-0'), 'again')
})

t.test('a key that comes back after its tombstone was purged has a greater revision', async t => {
  const { bucket } = await openBuckets(t, t.testdir(), { settings: { changeLogBytes: 0 } })
  const vbucket = bucket.vbucket(2)!
  const key = documentKey('key')
  const revno = () => bucket.documents.getMeta(vbucket, key, 0, 4)?.revno
  for (let i = 0; i < 5; i++) set(bucket, vbucket, 'key', 'v')
  remove(bucket, vbucket, 'key')
  const before = revno()!
  t.equal(before, 6)
  set(bucket, vbucket, 'other', 'v')
  await bucket.compact(2, { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true })
  t.equal(revno(), undefined)
  set(bucket, vbucket, 'key', 'again')
  t.ok(revno()! > before, `${revno()} after ${before}`)
})

t.test('young tombstones stay', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(2)!
  set(bucket, vbucket, 'a', '')
  remove(bucket, vbucket, 'a')
  set(bucket, vbucket, 'b', '')
  await bucket.compact(2, { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: false })
  t.equal(vbucket.purgeSeqno, 0)
  t.equal(vbucket.tombstoneCount, 1)
})

const form = { ...wholeForm, opaque: 7 }

t.test('a pinned snapshot shows its commit, whatever is written and purged since', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(4)!
  for (let i = 0; i < 1000; i++) set(bucket, vbucket, `key-${i}`, `value ${i}`)
  for (let i = 0; i < 500; i++) remove(bucket, vbucket, `key-${i}`)
  await committed(bucket)
  const request = { holder: 'c', reason: 'test', atLeastSeqno: 1500 }
  const reference = await bucket.snapshots.pin(4, request)
  t.equal(reference.persistedSeqno, 1500)
  for (let i = 0; i < 1000; i++) set(bucket, vbucket, `key-${i}`, `changed ${i}`)
  for (let i = 0; i < 1000; i++) remove(bucket, vbucket, `key-${i}`)
  await bucket.compact(4, { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true })
  const seqnos: number[] = []
  const scan = reference.scan({ afterSeqno: 600, toSeqno: 1500, form })
  for (;;) {
    const [slab] = await bucket.snapshots.read([scan], 4096)
    const { bytes, frames, done } = slab!
    let offset = 0
    for (let i = 0; i < frames; i++) {
      assert.equal(bytes.readUInt32BE(offset + 12), 7)
      seqnos.push(Number(bytes.readBigUInt64BE(offset + 24)))
      offset += 24 + bytes.readUInt32BE(offset + 8)
    }
    assert.equal(offset, bytes.length)
    if (done) break
  }
  t.same(
    seqnos,
    Array.from({ length: 900 }, (_, i) => 601 + i),
  )
  t.equal(bucket.snapshots.pins().length, 1)
  t.ok(bucket.snapshots.pinnedBytes() > 0)
  reference.release()
  reference.release()
  t.equal(bucket.snapshots.pins().length, 0)
  t.equal(bucket.snapshots.pinnedBytes(), 0)
})

t.test('a client that pins every vbucket holds few transactions', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const references = []
  for (let round = 0; round < 8; round++) {
    for (const vbucket of bucket.vbuckets()) set(bucket, vbucket, `key-${round}`, 'v')
    await committed(bucket)
    for (const { id } of bucket.vbuckets()) {
      const request = { holder: 'c', reason: 'test', atLeastSeqno: 1 }
      references.push(await bucket.snapshots.pin(id, request))
    }
  }
  t.ok(bucket.snapshots.pins().length <= 4, `${bucket.snapshots.pins().length} pins`)
  for (const reference of references) reference.release()
  t.equal(bucket.snapshots.pins().length, 0)
})

t.test('a vbucket that is deleted and made again starts empty, in memory and on disk', async t => {
  const directory = t.testdir()
  const { bucket, buckets } = await openBuckets(t, directory)
  const old = bucket.vbucket(6)!
  set(bucket, old, 'a', 'old')
  await committed(bucket)
  const gone = bucket.deleteVbucket(6)
  t.equal(bucket.vbucket(6), undefined)
  const made = bucket.setState(6, VbucketState.active)
  const vbucket = bucket.vbucket(6)!
  t.equal(read(bucket, vbucket, 'a'), undefined)
  t.equal(set(bucket, vbucket, 'b', 'new'), 1)
  await Promise.all([gone, made])
  await committed(bucket)
  t.equal(read(bucket, vbucket, 'a'), undefined)
  await buckets.close()
  const again = await openBuckets(t, directory)
  const reopened = again.bucket.vbucket(6)!
  t.equal(reopened.highSeqno, 1)
  t.equal(reopened.itemCount, 1)
  t.equal(read(again.bucket, reopened, 'a'), undefined)
  t.equal(read(again.bucket, reopened, 'b'), 'new')
})

t.test('flush empties every vbucket and begins new histories', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const before = bucket.vbucket(1)!
  const { vbuuid } = before.failoverLog
  set(bucket, before, 'a', 'old')
  await committed(bucket)
  const flushed = bucket.flush()
  const after = bucket.vbucket(1)!
  t.equal(read(bucket, after, 'a'), undefined)
  t.equal(set(bucket, after, 'b', 'new'), 1)
  await flushed
  await committed(bucket)
  t.equal(read(bucket, after, 'a'), undefined)
  t.equal(read(bucket, after, 'b'), 'new')
  t.not(after.failoverLog.vbuuid, vbuuid)
})

t.test(
  'a vbucket that becomes active begins a new history; one that is not takes no write',
  async t => {
    const { bucket } = await openBuckets(t, t.testdir())
    const vbucket = bucket.vbucket(0)!
    set(bucket, vbucket, 'a', 'v')
    const [first] = vbucket.failoverLog.entries
    await bucket.setState(0, VbucketState.replica)
    t.equal(bucket.documents.store(vbucket, storing('b', 'v')), Status.notMyVbucket)
    await bucket.setState(0, VbucketState.active)
    t.equal(vbucket.failoverLog.entries.length, 2)
    t.same(vbucket.failoverLog.entries[1], first)
    t.equal(vbucket.failoverLog.entries[0]!.seqno, 1)
  },
)

t.test('buckets are created, listed and deleted; names that are no names are refused', async t => {
  const { buckets } = await openBuckets(t, t.testdir())
  const other = await buckets.create('travel-sample')
  set(other, other.vbucket(0)!, 'a', 'v')
  t.same(
    buckets.list().map(bucket => bucket.name),
    ['default', 'travel-sample'],
  )
  await assert.rejects(buckets.create('travel-sample'), { status: Status.keyExists })
  await assert.rejects(buckets.create('../up'), { status: Status.invalidArguments })
  await buckets.delete('travel-sample')
  t.equal(buckets.get('travel-sample'), undefined)
  await assert.rejects(buckets.delete('travel-sample'), { status: Status.keyNotFound })
  const anew = await buckets.create('travel-sample')
  t.equal(read(anew, anew.vbucket(0)!, 'a'), undefined)
})

t.test('documents made again while their tombstones are purged are counted once', async t => {
  const directory = t.testdir()
  const { bucket, buckets } = await openBuckets(t, directory)
  const vbucket = bucket.vbucket(2)!
  for (let i = 0; i < 300; i++) set(bucket, vbucket, `key-${i}`, 'v')
  for (let i = 0; i < 300; i++) remove(bucket, vbucket, `key-${i}`)
  const everything = { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true }
  const compacted = [bucket.compact(2, everything), bucket.compact(2, everything)]
  for (let i = 0; i < 100; i++) set(bucket, vbucket, `key-${i}`, 'again')
  compacted.push(bucket.compact(2, everything))
  for (let i = 100; i < 150; i++) set(bucket, vbucket, `key-${i}`, 'again')
  remove(bucket, vbucket, 'key-7')
  await Promise.all(compacted)
  t.same([vbucket.itemCount, vbucket.tombstoneCount], [149, 1])
  t.equal(vbucket.purgeSeqno, 600)
  const key = documentKey('key-299')
  t.equal(bucket.documents.getMeta(vbucket, key, 0, key.length), undefined, 'purged is gone')
  set(bucket, vbucket, 'key-200', 'again')
  t.same([vbucket.itemCount, vbucket.tombstoneCount], [150, 1])
  await committed(bucket)
  await buckets.close()
  t.same(await checkStore(directory), [])
  const again = await openBuckets(t, directory)
  const reopened = again.bucket.vbucket(2)!
  t.same([reopened.itemCount, reopened.tombstoneCount], [150, 1])
})

/** Lets the flusher answer: a clock that stands still does not wait for it. */
async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!condition()) {
    assert.ok(Date.now() < deadline, 'it takes too long')
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

t.test('tombstones are purged at their age by the clock that was handed in', async t => {
  const clock = new ManualClock()
  const settings = { purgeAgeSeconds: 600, purgeIntervalSeconds: 60 }
  const { bucket } = await openBuckets(t, t.testdir(), { settings, clock })
  const vbucket = bucket.vbucket(3)!
  for (let i = 0; i < 20; i++) set(bucket, vbucket, `key-${i}`, 'v')
  for (let i = 0; i < 10; i++) remove(bucket, vbucket, `key-${i}`)
  await committed(bucket)
  // A pass begins when its time has come, unless the one before has not ended.
  const advance = async (ms: number) => {
    const { purgePasses } = bucket.statistics()
    clock.advance(ms)
    await until(() => bucket.statistics().purgePasses > purgePasses)
  }
  await advance(300_000)
  for (let i = 10; i < 20; i++) remove(bucket, vbucket, `key-${i}`)
  await committed(bucket)
  await advance(300_000)
  t.equal(vbucket.purgeSeqno, 0, 'none is older than its age yet')
  clock.advance(60_000)
  await until(() => vbucket.purgeSeqno > 0)
  t.equal(vbucket.purgeSeqno, 30)
  t.equal(vbucket.tombstoneCount, 10)
  t.equal(bucket.statistics().purged, 10)
})

t.test('a durable hold outlives the bucket, for the grace that was promised', async t => {
  const directory = t.testdir()
  const clock = new ManualClock()
  const everything = { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true }
  const first = await openBuckets(t, directory, { clock })
  const vbucket = first.bucket.vbucket(3)!
  for (let i = 0; i < 10; i++) set(first.bucket, vbucket, `key-${i}`, 'v')
  for (let i = 0; i < 10; i++) remove(first.bucket, vbucket, `key-${i}`)
  first.bucket.holds.set(3, 'a client, named "x"', 14, Infinity, true, 30_000)
  first.bucket.holds.set(3, 'volatile', 12, Infinity, false)
  await first.bucket.compact(3, everything)
  t.equal(vbucket.purgeSeqno, 12)
  await first.buckets.close()
  const { bucket } = await openBuckets(t, directory, { clock })
  t.same(
    bucket.holds.list().map(({ holder, seqno }) => ({ holder, seqno })),
    [{ holder: 'a client, named "x"', seqno: 14 }],
  )
  const again = bucket.vbucket(3)!
  await bucket.compact(3, everything)
  t.equal(again.purgeSeqno, 14)
  clock.advance(30_000)
  await bucket.compact(3, everything)
  t.equal(again.purgeSeqno, 19)
})

t.test('what a crash left of a creation or a removal is swept away', async t => {
  const directory = t.testdir({
    buckets: { '.new-half': { 'bucket.json': '{' }, '.deleted-1234': { file: '' } },
  })
  const { buckets } = await openBuckets(t, directory)
  t.same(
    buckets.list().map(({ name }) => name),
    ['default'],
  )
  t.same(readdirSync(join(directory, 'buckets')), ['default'])
  const creating = buckets.create('other')
  await assert.rejects(buckets.create('other'), { status: Status.keyExists })
  const closed = buckets.close()
  await creating
  await closed
  await assert.rejects(buckets.create('third'), { status: Status.temporaryFailure })
  const again = await openBuckets(t, directory)
  t.same(
    again.buckets
      .list()
      .map(({ name }) => name)
      .sort(),
    ['default', 'other'],
  )
})
