import { strict as assert } from 'node:assert'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { RecordKind, type RecordView } from '../../src/storage/record.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { count } from '../../src/vbucket/counters.ts'
import type { StoreRequest } from '../../src/vbucket/store-request.ts'
import type { Vbucket } from '../../src/vbucket/vbucket.ts'
import type { MetaRequest } from '../../src/vbucket/with-meta.ts'
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

interface Scene {
  bucket: Bucket
  vbucket: Vbucket
  clock: ManualClock
  /** Brings everything to where this run wants it: left in the log, or on disk only. */
  settle: () => Promise<void>
  store: (key: string, value: string, more?: Partial<StoreRequest>) => Status
  /** The document's own CAS, as a client would send it. */
  casOf: (key: string) => Pick<StoreRequest, 'casHigh' | 'casLow'>
  meta: (key: string) => RecordView
}

const wrongCas = { casHigh: 1, casLow: 1 }

type Place = 'log' | 'disk'

/** One bucket for each place, as opening one takes long; every test has a vbucket to itself. */
const clock = new ManualClock()
const buckets: Record<Place, Bucket> = { log: await openFor('log'), disk: await openFor('disk') }
let vbuckets = 0

async function openFor(place: Place): Promise<Bucket> {
  const settings = { vbuckets: 64, changeLogBytes: place === 'log' ? 2 ** 27 : 0 }
  const { bucket } = await openBuckets(t, join(t.testdir(), place), { settings, clock })
  return bucket
}

/** Runs a test twice: with its documents in the change log, and with them on disk only. */
function inBothPlaces(name: string, run: (t: Test, scene: Scene) => Promise<void>): void {
  for (const place of ['log', 'disk'] as const) {
    t.test(`${name} (${place})`, async t => {
      const bucket = buckets[place]
      const vbid = vbuckets++
      const vbucket = bucket.vbucket(vbid)!
      const store: Scene['store'] = (key, value, more = {}) =>
        bucket.documents.store(vbucket, Object.assign(storing(key, value), more))
      const meta = (key: string) => {
        const bytes = documentKey(key)
        return bucket.documents.getMeta(vbucket, bytes, 0, bytes.length)!
      }
      const casOf = (key: string) => {
        const { casHigh, casLow } = meta(key)
        return { casHigh, casLow }
      }
      const settle = async () => {
        if (place === 'log') return
        set(bucket, bucket.vbucket(63)!, 'filler', 'x'.repeat(70_000))
        await committed(bucket)
        assert.ok(bucket.changes.lowestSeqno(vbid, vbucket.highSeqno) > vbucket.highSeqno)
      }
      await run(t, { bucket, vbucket, clock, settle, store, casOf, meta })
    })
  }
}

inBothPlaces('set, add and replace ask for what is there', async (t, scene) => {
  const { bucket, vbucket, settle, store, casOf } = scene
  t.equal(store('a', '', { mode: 'replace' }), Status.keyNotFound)
  t.equal(store('a', '1', { mode: 'add', flags: 7, datatype: 1 }), Status.success)
  await settle()
  t.equal(store('a', '2', { mode: 'add' }), Status.keyExists)
  t.equal(store('a', '2', wrongCas), Status.keyExists)
  t.equal(store('b', '2', wrongCas), Status.keyNotFound)
  const first = casOf('a')
  t.equal(store('a', '2', { ...first, mode: 'replace' }), Status.success)
  await settle()
  t.equal(store('a', '3', first), Status.keyExists, 'that CAS is gone')
  t.equal(read(bucket, vbucket, 'a'), '2')
  t.equal(vbucket.itemCount, 1)
  remove(bucket, vbucket, 'a')
  await settle()
  t.equal(store('a', '4', { mode: 'replace' }), Status.keyNotFound)
  t.equal(store('a', '4', casOf('a')), Status.keyNotFound, 'not even with the CAS of the tombstone')
  t.equal(vbucket.tombstoneCount, 1)
  t.equal(store('a', '4', { mode: 'add' }), Status.success)
  t.same([vbucket.itemCount, vbucket.tombstoneCount], [1, 0])
})

inBothPlaces(
  'every change has its seqno, a greater CAS and the next revision',
  async (t, scene) => {
    const { bucket, vbucket, settle, store, meta } = scene
    const { result } = bucket.documents
    let before = 0n
    for (let i = 1; i <= 6; i++) {
      if (i % 3 === 0) remove(bucket, vbucket, 'a')
      else t.equal(store('a', `${i}`, { flags: i, datatype: 1 }), Status.success)
      const { cas } = result
      await settle()
      const record = meta('a')
      t.equal(record.seqno, i)
      t.equal(record.revno, i)
      t.ok(record.cas > before)
      t.equal(record.cas, cas)
      t.equal(record.flags, i % 3 === 0 ? 0 : i)
      t.equal(record.datatype, i % 3 === 0 ? 0 : 1)
      before = record.cas
    }
    t.equal(vbucket.maxCas, before)
  },
)

inBothPlaces('append and prepend keep what the document has', async (t, scene) => {
  const { bucket, vbucket, clock, settle, store, casOf, meta } = scene
  const { documents } = bucket
  const concatenate = (key: string, value: string, where: 'append' | 'prepend', more = {}) =>
    documents.concatenate(vbucket, Object.assign(storing(key, value), more), where)
  t.equal(concatenate('a', 'x', 'append'), Status.notStored)
  t.equal(concatenate('a', 'x', 'append', wrongCas), Status.keyNotFound)
  store('a', 'middle', { flags: 9, datatype: 1, expiry: 100 })
  await settle()
  t.equal(concatenate('a', '-end', 'append'), Status.success)
  await settle()
  t.equal(concatenate('a', 'x', 'prepend', wrongCas), Status.keyExists)
  t.equal(concatenate('a', 'start-', 'prepend', casOf('a')), Status.success)
  await settle()
  const record = meta('a')
  t.equal(record.value().toString(), 'start-middle-end')
  t.same([record.flags, record.datatype], [9, 0], 'but that it was JSON')
  t.equal(record.expiry, clock.nowMs() / 1000 + 100)
  t.equal(concatenate('a', '', 'append'), Status.success)
})

inBothPlaces('delete leaves a tombstone and takes no wrong CAS', async (t, scene) => {
  const { bucket, vbucket, clock, settle, store, casOf, meta } = scene
  const { documents } = bucket
  t.equal(documents.remove(vbucket, storing('a')), Status.keyNotFound)
  store('a', 'v', { flags: 3 })
  await settle()
  t.equal(documents.remove(vbucket, Object.assign(storing('a'), wrongCas)), Status.keyExists)
  t.equal(documents.remove(vbucket, Object.assign(storing('a'), casOf('a'))), Status.success)
  await settle()
  t.equal(documents.remove(vbucket, storing('a')), Status.keyNotFound)
  t.equal(read(bucket, vbucket, 'a'), undefined)
  const record = meta('a')
  t.equal(record.kind, RecordKind.deletion)
  t.equal(record.deleteTime, clock.nowMs() / 1000)
  t.equal(record.valueLength, 0)
})

inBothPlaces(
  'touch gives a new expiry, and changes nothing when it is the same',
  async (t, scene) => {
    const { bucket, vbucket, clock, settle, store, meta } = scene
    const { documents } = bucket
    const key = documentKey('a')
    const touch = (expiry: number) => documents.touch(vbucket, key, 0, 2, expiry)
    t.equal(touch(10), Status.keyNotFound)
    store('a', 'value', { flags: 5, datatype: 1 })
    await settle()
    const touched = touch(50) as RecordView
    t.equal(touched.value().toString(), 'value')
    t.equal(touched.expiry, clock.nowMs() / 1000 + 50)
    await settle()
    const { seqno } = meta('a')
    t.equal(seqno, 2)
    t.same([meta('a').flags, meta('a').datatype], [5, 1])
    t.type(touch(50), 'object')
    t.equal(vbucket.highSeqno, 2)
    t.equal(documents.result.seqno, 2)
    t.equal(documents.result.cas, meta('a').cas)
    touch(0)
    t.equal(meta('a').expiry, 0)
  },
)

inBothPlaces('a write keeps the expiry when it is asked to', async (t, scene) => {
  const { clock, settle, store, meta } = scene
  store('a', '1', { expiry: 100 })
  await settle()
  store('a', '2', { expiry: 0, preserveExpiry: true })
  t.equal(meta('a').expiry, clock.nowMs() / 1000 + 100)
  await settle()
  store('a', '3')
  t.equal(meta('a').expiry, 0)
  store('b', '1', { expiry: 60, preserveExpiry: true })
  t.equal(meta('b').expiry, clock.nowMs() / 1000 + 60, 'there is nothing to keep')
})

inBothPlaces('an expired document is gone for every command', async (t, scene) => {
  const { bucket, vbucket, clock, settle, store, meta } = scene
  const { documents } = bucket
  const expiring = async (key: string) => {
    store(key, 'v', { expiry: 10 })
    await settle()
  }
  for (const key of [
    'read',
    'add',
    'replace',
    'set',
    'append',
    'delete',
    'touch',
    'lock',
    'count',
  ]) {
    await expiring(key)
  }
  clock.advance(9999)
  t.equal(read(bucket, vbucket, 'read'), 'v')
  clock.advance(1)
  t.equal(read(bucket, vbucket, 'read'), undefined)
  const record = meta('read')
  t.equal(record.kind, RecordKind.expiration, 'reading it leaves an expiration')
  t.equal(record.revno, 2)
  t.equal(record.deleteTime, clock.nowMs() / 1000)
  t.equal(read(bucket, vbucket, 'read'), undefined)
  t.equal(meta('read').revno, 2, 'only one')
  t.equal(store('add', 'new', { mode: 'add' }), Status.success)
  t.equal(meta('add').revno, 2)
  t.equal(store('replace', 'new', { mode: 'replace' }), Status.keyNotFound)
  t.equal(store('set', 'new', { preserveExpiry: true }), Status.success)
  t.equal(meta('set').expiry, 0, 'its expiry has gone with it')
  t.equal(documents.concatenate(vbucket, storing('append', 'x'), 'append'), Status.notStored)
  t.equal(documents.remove(vbucket, storing('delete')), Status.keyNotFound)
  t.equal(documents.touch(vbucket, documentKey('touch'), 0, 6, 100), Status.keyNotFound)
  t.equal(documents.lock(vbucket, documentKey('lock'), 0, 5, 15), Status.keyNotFound)
  const counter = { delta: 1n, initial: 7n, isDecrement: false }
  t.equal(count(documents, vbucket, storing('count'), counter), 7n)
})

inBothPlaces('a lock lets its holder alone change the document', async (t, scene) => {
  const { bucket, vbucket, clock, settle, store, casOf } = scene
  const { documents } = bucket
  const key = documentKey('a')
  t.equal(documents.lock(vbucket, key, 0, 2, 15), Status.keyNotFound)
  store('a', 'v')
  await settle()
  const before = casOf('a')
  const locked = documents.lock(vbucket, key, 0, 2, 15) as RecordView
  t.equal(locked.value().toString(), 'v')
  const { casHigh, casLow } = documents.result
  const own = { casHigh, casLow }
  t.ok(documents.isLocked(vbucket, key, 0, 2))
  t.equal(documents.lock(vbucket, key, 0, 2, 15), Status.locked)
  t.equal(store('a', 'x'), Status.locked)
  t.equal(store('a', 'x', before), Status.locked)
  t.equal(documents.remove(vbucket, storing('a')), Status.locked)
  t.equal(documents.concatenate(vbucket, storing('a', 'x'), 'append'), Status.locked)
  t.equal(documents.touch(vbucket, key, 0, 2, 9), Status.locked)
  t.equal(read(bucket, vbucket, 'a'), 'v', 'reading is free')
  t.equal(documents.unlock(vbucket, Object.assign(storing('a'), before)), Status.locked)
  t.equal(documents.unlock(vbucket, Object.assign(storing('a'), own)), Status.success)
  t.equal(documents.unlock(vbucket, Object.assign(storing('a'), own)), Status.notLocked)
  t.equal(documents.unlock(vbucket, storing('b')), Status.keyNotFound)
  documents.lock(vbucket, key, 0, 2, 15)
  const second = { casHigh: documents.result.casHigh, casLow: documents.result.casLow }
  t.equal(store('a', 'mine', second), Status.success, 'the holder writes, which ends the lock')
  t.equal(store('a', 'yours'), Status.success)
  documents.lock(vbucket, key, 0, 2, 15)
  clock.advance(15_000)
  t.equal(store('a', 'late'), Status.success, 'it ends by itself')
})

inBothPlaces('counters count in 64 bits and refuse what is no number', async (t, scene) => {
  const { bucket, vbucket, clock, settle, store, meta } = scene
  const { documents } = bucket
  const add = (key: string, delta: bigint, more: Partial<StoreRequest> = {}) =>
    count(documents, vbucket, Object.assign(storing(key), more), {
      delta,
      initial: 40n,
      isDecrement: false,
    })
  const subtract = (key: string, delta: bigint) =>
    count(documents, vbucket, storing(key), { delta, initial: 0n, isDecrement: true })
  t.equal(add('a', 1n, { expiry: 0xffffffff }), Status.keyNotFound)
  t.equal(add('a', 1n, { expiry: 30 }), 40n)
  await settle()
  t.equal(add('a', 2n, { expiry: 99 }), 42n)
  t.equal(meta('a').expiry, clock.nowMs() / 1000 + 30, 'a counter keeps its expiry')
  t.equal(meta('a').value().toString(), '42')
  await settle()
  t.equal(subtract('a', 50n), 0n, 'not below nothing')
  store('a', `${2n ** 64n - 1n}`, { flags: 4 })
  await settle()
  t.equal(add('a', 3n), 2n, 'it wraps')
  t.equal(meta('a').flags, 4)
  for (const text of ['', 'x', '-1', '1x', ' 1', `${2n ** 64n}`, '1'.repeat(21)]) {
    store('a', text)
    await settle()
    t.equal(add('a', 1n), Status.badDelta, JSON.stringify(text))
  }
  store('a', '12  ')
  t.equal(add('a', 1n), 13n, 'spaces behind it, as memcached leaves them')
  t.equal(add('a', 1n, wrongCas), Status.keyExists)
  t.equal(add('none', 1n, wrongCas), Status.keyNotFound)
})

inBothPlaces('a value beyond the limit is refused and changes nothing', async (t, scene) => {
  const { bucket, vbucket, settle, store } = scene
  const limit = 20 * 2 ** 20
  t.equal(store('a', 'v'.repeat(limit + 1)), Status.tooLarge)
  t.equal(vbucket.highSeqno, 0)
  t.equal(store('a', 'v'.repeat(limit)), Status.success)
  await settle()
  t.equal(bucket.documents.concatenate(vbucket, storing('a', 'v'), 'append'), Status.tooLarge)
  t.equal(read(bucket, vbucket, 'a')!.length, limit)
  t.equal(vbucket.highSeqno, 1)
})

inBothPlaces('no write passes a paused gate or one of another state', async (t, scene) => {
  const { bucket, vbucket, clock, settle, store } = scene
  store('a', 'v', { expiry: 10 })
  await settle()
  vbucket.gate.pause('move', clock.nowMs() + 1000)
  t.equal(store('a', 'w'), Status.temporaryFailure)
  clock.advance(1000)
  t.equal(store('b', 'w'), Status.success)
  await bucket.setState(vbucket.id, VbucketState.replica)
  t.equal(store('a', 'w'), Status.notMyVbucket)
  clock.advance(60_000)
  t.equal(read(bucket, vbucket, 'a'), undefined, 'a replica shows nothing expired')
  t.equal(vbucket.highSeqno, 2, 'but leaves it to the active to expire it')
})

function metaRequest(key: string, value: string, more: Partial<MetaRequest> = {}): MetaRequest {
  const {
    key: bytes,
    keyStart,
    keyLength,
    value: content,
    valueStart,
    valueLength,
  } = storing(key, value)
  return {
    kind: RecordKind.mutation,
    key: bytes,
    keyStart,
    keyLength,
    value: content,
    valueStart,
    valueLength,
    datatype: 0,
    flags: 0,
    time: 0,
    revno: 1,
    cas: 1000n,
    expectedCas: 0n,
    isAdd: false,
    skipConflictResolution: false,
    regenerateCas: false,
    ...more,
  }
}

inBothPlaces('a write with metadata keeps it, and the better version wins', async (t, scene) => {
  const { bucket, vbucket, clock, settle, meta } = scene
  const write = (value: string, more: Partial<MetaRequest> = {}) =>
    bucket.metaWriter.write(vbucket, metaRequest('a', value, more))
  t.equal(write('v', { cas: 0n }), Status.casInvalid)
  t.equal(write('v', { cas: 2n ** 64n - 1n }), Status.casInvalid)
  t.equal(write('v', { expectedCas: 5n }), Status.keyNotFound)
  const time = clock.nowMs() / 1000 + 500
  t.equal(write('one', { revno: 5, cas: 2n ** 62n, flags: 3, time, datatype: 1 }), Status.success)
  await settle()
  const record = meta('a')
  t.same([record.revno, record.cas, record.flags, record.expiry], [5, 2n ** 62n, 3, time])
  t.equal(write('two', { revno: 5, cas: 2n ** 62n, flags: 3, time }), Status.keyExists, 'a tie')
  t.equal(write('two', { revno: 4, cas: 2n ** 62n + 1n }), Status.keyExists)
  t.equal(write('two', { revno: 4, cas: 2n ** 62n + 1n, isAdd: true }), Status.keyExists)
  t.equal(write('two', { revno: 4, cas: 77n, skipConflictResolution: true }), Status.success)
  await settle()
  t.equal(meta('a').cas, 77n)
  t.equal(write('three', { revno: 9, expectedCas: 76n }), Status.keyExists)
  t.equal(write('three', { revno: 9, expectedCas: 77n, regenerateCas: true }), Status.success)
  t.ok(meta('a').cas > 2n ** 62n, 'our clock has gone on from the greatest CAS it saw')
  await settle()
  const deletion = { kind: RecordKind.deletion, revno: 10, cas: 500n, flags: 8 }
  t.equal(write('', deletion), Status.success)
  t.equal(meta('a').deleteTime, clock.nowMs() / 1000)
  await settle()
  t.equal(write('', deletion), Status.keyExists, 'the same deletion again is a tie')
  t.equal(write('', { ...deletion, revno: 11, time: 5 }), Status.success)
  t.equal(meta('a').deleteTime, 5)
  t.equal(write('back', { revno: 12, isAdd: true }), Status.success)
  t.same([vbucket.itemCount, vbucket.tombstoneCount], [1, 0])
  t.equal(write('x'.repeat(20 * 2 ** 20 + 1), { revno: 13 }), Status.tooLarge)
  bucket.documents.lock(vbucket, documentKey('a'), 0, 2, 15)
  const { cas } = bucket.documents.result
  t.equal(write('x', { revno: 13 }), Status.locked)
  t.equal(write('x', { revno: 13, expectedCas: cas }), Status.success)
})

t.test('a random key is a live one, from the log, the disk, or among tombstones', async t => {
  for (const changeLogBytes of [2 ** 26, 0]) {
    const { bucket } = await openBuckets(t, t.testdir(), { settings: { changeLogBytes } })
    const vbucket = bucket.vbucket(5)!
    t.equal(bucket.randomKey(0), undefined)
    for (let i = 0; i < 1000; i++) set(bucket, vbucket, `key-${i}`, 'v')
    await committed(bucket)
    const found = new Set<string>()
    for (let i = 0; i < 200; i++) found.add(bucket.randomKey(0)!.key().toString('utf8', 1))
    t.ok(found.size > 50, `${found.size} keys`)
    for (let i = 0; i < 1000; i++) if (i !== 617) remove(bucket, vbucket, `key-${i}`)
    t.equal(bucket.randomKey(0)!.key().toString('utf8', 1), 'key-617')
    await committed(bucket)
    t.equal(bucket.randomKey(0)!.key().toString('utf8', 1), 'key-617')
    remove(bucket, vbucket, 'key-617')
    t.equal(bucket.randomKey(0), undefined)
    set(bucket, vbucket, 'last', 'v')
    t.equal(bucket.randomKey(0)!.key().toString('utf8', 1), 'last')
  }
})

t.test('the pager expires what nobody reads, and what others own does not hold it up', async t => {
  const clock = new ManualClock()
  const settings = { expiryPagerIntervalSeconds: 60 }
  const { bucket } = await openBuckets(t, t.testdir(), { settings, clock })
  const replica = bucket.vbucket(0)!
  const active = bucket.vbucket(2)!
  const expiring = (vbucket: Vbucket, count: number, expiry: number) => {
    for (let i = 0; i < count; i++) {
      const request = Object.assign(storing(`${expiry}-${i}`, 'v'), { expiry })
      assert.equal(bucket.documents.store(vbucket, request), Status.success)
    }
  }
  // More than one step of the pager, all due before those of the active vbucket.
  expiring(replica, 700, 5)
  expiring(active, 600, 10)
  expiring(active, 50, 100_000)
  await bucket.setState(0, VbucketState.replica)
  await committed(bucket)
  clock.advance(60_000)
  const deadline = Date.now() + 10_000
  while (active.itemCount > 50 && Date.now() < deadline) {
    await new Promise(resolve => setImmediate(resolve))
  }
  t.equal(active.itemCount, 50)
  t.equal(active.tombstoneCount, 600)
  t.equal(replica.itemCount, 700)
  await committed(bucket)
  await new Promise(resolve => setImmediate(resolve))
  t.equal(bucket.statistics().expired, 600)
  clock.advance(60_000)
  await new Promise(resolve => setTimeout(resolve, 50))
  t.equal(bucket.statistics().expired, 600, 'nothing expires twice')
  t.equal(active.highSeqno, 1250)
})
