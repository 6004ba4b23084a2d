import { strict as assert } from 'node:assert'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Scan } from '../../src/storage/pin.ts'
import type { ScanSlab, SnapshotReference } from '../../src/storage/snapshot.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { committed, openBuckets, read, set } from '../support/bucket.ts'
import { wholeForm } from '../support/frame-form.ts'

const form = { ...wholeForm, noValue: true }

function pin(bucket: Bucket, vbid: number, holder: string): Promise<SnapshotReference> {
  return bucket.snapshots.pin(vbid, { holder, reason: 'test', atLeastSeqno: 0 })
}

async function readOne(bucket: Bucket, scan: Scan, bytesMax: number): Promise<ScanSlab> {
  const [slab] = await bucket.snapshots.read([scan], bytesMax)
  return slab!
}

async function seqnosIn(bucket: Bucket, reference: SnapshotReference): Promise<number[]> {
  const scan = reference.scan({ afterSeqno: 0, toSeqno: reference.persistedSeqno, form })
  const seqnos: number[] = []
  for (;;) {
    const { bytes, frames, done } = await readOne(bucket, scan, 64 * 1024)
    let offset = 0
    for (let i = 0; i < frames; i++) {
      seqnos.push(Number(bytes.readBigUInt64BE(offset + 24)))
      offset += 24 + bytes.readUInt32BE(offset + 8)
    }
    assert.equal(offset, bytes.length)
    if (done) return seqnos
  }
}

t.test('what a pin keeps from reuse is told; released, the file stops growing', async t => {
  const directory = t.testdir()
  const settings = { environments: 1, changeLogBytes: 0, compactBytesMax: 0 }
  const clock = new ManualClock()
  const { bucket } = await openBuckets(t, directory, { settings, clock })
  const vbucket = bucket.vbucket(1)!
  const file = join(directory, 'buckets', 'default', 'environment-0', 'data.mdb')
  const fileBytes = () => statSync(file).size
  const pinnedBytes = () => bucket.snapshots.pinnedBytes()
  let round = 0
  const update = async (rounds: number) => {
    for (const end = round + rounds; round < end; round++) {
      for (let i = 0; i < 300; i++) {
        set(bucket, vbucket, `key-${(i * 7 + round * 131) % 2000}`, `${round}`.padEnd(2000, 'x'))
      }
      await committed(bucket)
    }
  }
  await update(30)
  t.equal(pinnedBytes(), 0)
  const settled = fileBytes()
  await update(10)
  t.ok(fileBytes() < settled * 1.2, 'pages are reused while nothing is pinned')
  const before = fileBytes()
  const first = await pin(bucket, 1, 'first')
  await update(20)
  const growth = fileBytes() - before
  t.ok(growth > 15e6, `the file has grown by ${growth}`)
  const near = (found: number, expected: number, text: string) =>
    t.ok(Math.abs(found - expected) < 0.25 * expected, `${text}: ${found}, not ${expected}`)
  near(pinnedBytes(), growth, 'what the pin holds is what the file has grown by')
  // So late that the first one is not shared.
  clock.advance(2000)
  const second = await pin(bucket, 1, 'second')
  await update(10)
  near(pinnedBytes(), fileBytes() - before, 'the older pin holds what both do')
  first.release()
  near(pinnedBytes(), growth / 2, 'the younger one what was freed since it began')
  second.release()
  t.equal(pinnedBytes(), 0)
  // It has been kept for a moment, for the next who comes.
  clock.advance(1000)
  const after = fileBytes()
  await update(40)
  // Were they not, the file would be twice as long; a group commit that happens to be larger than
  // any before it may take a few pages more.
  t.ok(fileBytes() < after * 1.1, `freed pages are used again: ${after}, then ${fileBytes()}`)
})

t.test(
  '1,024 vbuckets of one client, pinned while they are written to, cost eight slots',
  async t => {
    const settings = { vbuckets: 1024, environments: 4 }
    const { bucket } = await openBuckets(t, t.testdir(), { settings })
    let isWriting = true
    const writing = (async () => {
      for (let i = 0; isWriting; i++) {
        for (let k = 0; k < 40; k++)
          set(bucket, bucket.vbucket((i * 40 + k) % 1024)!, `key-${i}`, 'v')
        await committed(bucket)
      }
    })()
    const references: SnapshotReference[] = []
    const started = Date.now()
    for (let vbid = 0; vbid < 1024; vbid++) {
      references.push(await pin(bucket, vbid, 'client'))
      // Slower than snapshots are young, so that more than one burst's worth is needed.
      if (vbid % 64 === 0) await new Promise(resolve => setTimeout(resolve, 150))
    }
    t.ok(Date.now() - started > 2000)
    isWriting = false
    await writing
    const { length } = bucket.snapshots.pins()
    t.ok(length <= 8, `${length} snapshots`)
    for (const reference of references) reference.release()
    t.same(bucket.snapshots.pins(), [])
  },
)

t.test('a pin that was let go serves the next who comes soon, then it is gone', async t => {
  const clock = new ManualClock()
  const { bucket } = await openBuckets(t, t.testdir(), { settings: { environments: 1 }, clock })
  set(bucket, bucket.vbucket(1)!, 'k', 'v')
  await committed(bucket)
  const first = await pin(bucket, 1, 'client')
  first.release()
  t.same(bucket.snapshots.pins(), [], 'nobody has pinned anything')
  const second = await pin(bucket, 2, 'client')
  t.equal(second.snapshotId, first.snapshotId)
  second.release()
  t.equal(bucket.snapshots.pinnedIn(0), 1)
  clock.advance(1000)
  t.equal(bucket.snapshots.pinnedIn(0), 0)
  const third = await pin(bucket, 1, 'client')
  t.not(third.snapshotId, first.snapshotId)
  third.release()
})

t.test('without a free reader slot a pin fails; all else goes on', async t => {
  const settings = { environments: 1, readerSlotsMax: 8 }
  const clock = new ManualClock()
  const { bucket } = await openBuckets(t, t.testdir(), { settings, clock })
  const vbucket = bucket.vbucket(1)!
  const references: SnapshotReference[] = []
  let failure: unknown
  for (let i = 1; i <= 30 && failure === undefined; i++) {
    set(bucket, vbucket, `key-${i}`, 'v')
    await committed(bucket)
    // So late that the one before is not shared.
    clock.advance(2000)
    const pinning = pin(bucket, 1, `client-${i}`)
    await pinning.then(reference => references.push(reference)).catch(error => (failure = error))
  }
  t.match(failure, { code: 'readers-full', hint: /--reader-slots-max/ })
  t.ok(references.length >= 8, `${references.length} are pinned`)
  const high = vbucket.highSeqno
  set(bucket, vbucket, 'another', 'v')
  await committed(bucket)
  t.equal(vbucket.persistedSeqno, high + 1)
  t.equal(read(bucket, vbucket, 'key-1'), 'v')
  for (const reference of references) {
    const expected = Array.from({ length: reference.persistedSeqno }, (_, i) => i + 1)
    assert.deepEqual(await seqnosIn(bucket, reference), expected)
  }
  references.pop()!.release()
  const again = await pin(bucket, 1, 'late')
  t.equal(again.persistedSeqno, high + 1)
  again.release()
  for (const reference of references) reference.release()
})

t.test('a scan that is ended, or whose snapshot is released under it, answers nothing', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(1)!
  for (let i = 0; i < 2000; i++) set(bucket, vbucket, `key-${i}`, 'x'.repeat(200))
  await committed(bucket)
  const reference = await pin(bucket, 1, 'client')
  const request = { afterSeqno: 0, toSeqno: 2000, form: { ...form, noValue: false } }
  const closed = reference.scan(request)
  const pending = readOne(bucket, closed, 10_000)
  closed.close()
  t.equal((await pending).frames, 0)
  await t.rejects(readOne(bucket, closed, 10_000))
  const scan = reference.scan(request)
  const read = readOne(bucket, scan, 10_000)
  reference.release()
  const slab = await read
  t.ok(slab.frames > 10, 'a read under way is answered')
  await new Promise(resolve => setImmediate(resolve))
  t.same(bucket.snapshots.pins(), [])
})

t.test('one value larger than a slab comes whole', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(1)!
  set(bucket, vbucket, 'small', 'v')
  set(bucket, vbucket, 'large', 'x'.repeat(3_000_000))
  set(bucket, vbucket, 'last', 'v')
  await committed(bucket)
  const reference = await pin(bucket, 1, 'client')
  const scan = reference.scan({ afterSeqno: 0, toSeqno: 3, form: { ...form, noValue: false } })
  const first = await readOne(bucket, scan, 100_000)
  t.match(first, { frames: 1, lastSeqno: 1, done: false })
  const second = await readOne(bucket, scan, 100_000)
  t.match(second, { frames: 1, lastSeqno: 2, done: false })
  t.ok(second.bytes.length > 3_000_000)
  t.match(await readOne(bucket, scan, 100_000), { frames: 1, lastSeqno: 3, done: true })
  reference.release()
})

t.test('one slab takes what it has room for of several vbuckets', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  for (const vbid of [1, 2, 3, 4]) {
    for (let i = 0; i < 10; i++) set(bucket, bucket.vbucket(vbid)!, `key-${i}`, 'x'.repeat(1000))
  }
  await committed(bucket)
  const scans: Scan[] = []
  const references: SnapshotReference[] = []
  for (const vbid of [1, 2, 3, 4]) {
    const reference = await pin(bucket, vbid, 'client')
    references.push(reference)
    scans.push(reference.scan({ afterSeqno: 0, toSeqno: 10, form: { ...form, noValue: false } }))
  }
  const first = await bucket.snapshots.read(scans, 25_000)
  t.match(first, [
    { frames: 10, lastSeqno: 10, done: true },
    { frames: 10, lastSeqno: 10, done: true },
    { lastSeqno: first[2]!.frames, done: false },
  ])
  t.equal(first.length, 3)
  t.equal(first[0]!.bytes.buffer, first[2]!.bytes.buffer)
  const rest = await bucket.snapshots.read(scans.slice(2), 25_000)
  t.match(rest, [
    { frames: 10 - first[2]!.frames, lastSeqno: 10, done: true },
    { frames: 10, lastSeqno: 10, done: true },
  ])
  for (const reference of references) reference.release()
})

t.test('a slab that is not filled takes no more memory than it holds', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(1)!
  for (let i = 0; i < 100; i++) set(bucket, vbucket, `key-${i}`, 'x'.repeat(1000))
  await committed(bucket)
  const reference = await pin(bucket, 1, 'client')
  const request = { afterSeqno: 0, toSeqno: 100, form: { ...form, noValue: false } }
  const few = await readOne(bucket, reference.scan({ ...request, toSeqno: 3 }), 80_000)
  t.equal(few.bytes.buffer.byteLength, few.bytes.length)
  const scan = reference.scan(request)
  const full = await readOne(bucket, scan, 80_000)
  const rest = await readOne(bucket, scan, 80_000)
  t.match([full, rest], [{ done: false }, { frames: 100 - full.frames, lastSeqno: 100 }])
  t.equal(full.bytes.toString('latin1', 0, few.bytes.length), few.bytes.toString('latin1'))
  reference.release()
})

t.test(
  'a pin waits until a vbucket that begins anew is shown, and shows only its new life',
  async t => {
    const { bucket } = await openBuckets(t, t.testdir())
    const before = bucket.vbucket(1)!
    for (let i = 0; i < 50; i++) set(bucket, before, `old-${i}`, 'v')
    await committed(bucket)
    const old = await pin(bucket, 1, 'client')
    const flushed = bucket.flush()
    const vbucket = bucket.vbucket(1)!
    set(bucket, vbucket, 'new', 'v')
    const pinned = pin(bucket, 1, 'client')
    await flushed
    const reference = await pinned
    t.not(reference.snapshotId, old.snapshotId)
    t.ok(reference.persistedSeqno <= 1)
    await committed(bucket)
    t.equal(vbucket.persistedSeqno, 1)
    t.equal((await seqnosIn(bucket, old)).length, 50, 'the old snapshot still shows what it showed')
    old.release()
    reference.release()
  },
)

t.test('what was written before a vbucket was shown again counts as persisted', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  set(bucket, bucket.vbucket(1)!, 'old', 'v')
  await committed(bucket)
  const flushed = bucket.flush()
  const vbucket = bucket.vbucket(1)!
  for (let i = 0; i < 5; i++) set(bucket, vbucket, `new-${i}`, 'v')
  const persisted = bucket.whenPersisted(1, 5)
  await flushed
  await persisted
  t.equal(vbucket.persistedSeqno, 5)
  const deletions = [bucket.deleteVbucket(1)]
  await bucket.setState(1, 1).then(() => undefined)
  set(bucket, bucket.vbucket(1)!, 'x', 'v')
  deletions.push(bucket.deleteVbucket(1))
  const made = bucket.setState(1, 1)
  const last = bucket.vbucket(1)!
  set(bucket, last, 'y', 'v')
  t.equal(read(bucket, last, 'x'), undefined, 'it was in an earlier life')
  await Promise.all([...deletions, made])
  await bucket.whenPersisted(1, 1)
  t.equal(read(bucket, last, 'x'), undefined)
  t.equal(read(bucket, last, 'y'), 'v')
  t.equal(last.persistedSeqno, 1)
})

t.test('a pin under way when the bucket closes is refused, not empty', async t => {
  const { bucket, buckets } = await openBuckets(t, t.testdir(), { settings: { environments: 1 } })
  set(bucket, bucket.vbucket(1)!, 'key', 'value')
  await committed(bucket)
  const pinned = Promise.allSettled([pin(bucket, 1, 'first'), pin(bucket, 1, 'second')])
  await buckets.close()
  for (const result of await pinned) {
    if (result.status === 'fulfilled') t.equal(result.value.persistedSeqno, 1)
    else t.match(result.reason, { code: 'stopping' })
  }
  await t.rejects(pin(bucket, 1, 'late'), { code: 'stopping' })
})

t.test('a closed bucket leaves no thread, timer or file behind', async t => {
  // Descriptors that stay belong to the process, such as that of its standard output.
  const open = () => readdirSync('/proc/self/fd').length
  const kinds = () =>
    process
      .getActiveResourcesInfo()
      .filter(kind => kind !== 'Immediate')
      .sort()
  const settle = () => new Promise(resolve => setTimeout(resolve, 100))
  const directory = t.testdir()
  const run = async () => {
    const { bucket, buckets } = await openBuckets(t, directory)
    for (let i = 0; i < 100; i++) set(bucket, bucket.vbucket(i % 16)!, `key-${i}`, 'v')
    await committed(bucket)
    const reference = await pin(bucket, 1, 'client')
    await readOne(bucket, reference.scan({ afterSeqno: 0, toSeqno: 1, form }), 1000)
    // One pin is left to the close.
    await pin(bucket, 2, 'client')
    reference.release()
    await buckets.close()
  }
  await run()
  await settle()
  const before = { open: open(), kinds: kinds() }
  for (let i = 0; i < 3; i++) await run()
  await settle()
  t.ok(open() <= before.open, `${open()} descriptors, ${before.open} before`)
  t.same(kinds(), before.kinds)
  t.notOk(kinds().includes('MessagePort') || kinds().includes('Worker'), kinds().join())
})
