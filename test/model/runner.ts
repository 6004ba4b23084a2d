/**
 * Runs random commands against a bucket and against a model of it, and ends in one of two ways:
 * cleanly, or by killing itself. A journal tells the next run what was done, so that it can check
 * what it finds. Arguments: data directory, journal, seed, number of commands, "close" or "kill".
 */
import { strict as assert } from 'node:assert'
import { openSync, writeSync } from 'node:fs'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { silentLog } from '../../src/log.ts'
import { systemRandom } from '../../src/random.ts'
import { RecordKind, RecordView } from '../../src/storage/record.ts'
import type { SnapshotReference } from '../../src/storage/snapshot.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { Buckets } from '../../src/vbucket/buckets.ts'
import { count } from '../../src/vbucket/counters.ts'
import type { StoreRequest } from '../../src/vbucket/store-request.ts'
import type { Vbucket } from '../../src/vbucket/vbucket.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { committed, smallSettings, storing } from '../support/bucket.ts'
import { seededRandom } from '../support/faulty-proxy.ts'
import { readJournal, type Entry } from './journal.ts'
import { anyChange, askFor, changedManifest } from './manifest-changes.ts'
import {
  checkEvent,
  checkManifest,
  firstModelManifest,
  lackingEvents,
  type ModelManifest,
} from './manifest.ts'
import { changeIn, keyBytes, ModelVbucket, type Change } from './model.ts'
import { expectedScan, scanned } from './scanning.ts'

const [directory = '', journalPath = '', seed = '1', commands = '500', ending] =
  process.argv.slice(2)
const vbucketCount = 3
const keysPerCollection = 12
const pagerIntervalSeconds = 1000
const random = seededRandom(Number(seed))
const upTo = (limit: number) => Math.floor(random() * limit)
const oneOf = <Value>(values: readonly Value[]): Value => values[upTo(values.length)]!

const clock = new ManualClock()
const model = Array.from({ length: vbucketCount }, () => new ModelVbucket())
let manifest = firstModelManifest
/** A change that was under way when the run before was killed. */
let wantedManifest: ModelManifest | undefined
const journal = readJournal(journalPath)
const journalFile = openSync(journalPath, 'a')

/** Takes an entry into the model. */
function take(entry: Entry): void {
  const [kind, first, second] = entry
  if (kind === 'manifest') {
    manifest = first
    wantedManifest = undefined
  } else if (kind === 'wanted manifest') wantedManifest = first
  else if (kind === 'clock') clock.advance(first)
  else if (kind === 'empty') model[first] = new ModelVbucket()
  else if (kind === 'change') model[first]!.add(second)
  else if (kind === 'cut') model[first]!.cut(second)
  else if (kind === 'purge') model[first]!.purge(second)
  else model[first]!.persisted = second
}

function note(...entry: Entry): void {
  take(entry)
  writeSync(journalFile, `${JSON.stringify(entry)}\n`)
}

async function openBucket(): Promise<{ buckets: Buckets; bucket: Bucket }> {
  const buckets = await Buckets.open({
    directory,
    settings: {
      ...smallSettings,
      vbuckets: vbucketCount,
      changeLogBytes: 16_384,
      expiryPagerIntervalSeconds: pagerIntervalSeconds,
      purgeIntervalSeconds: 1e9,
    },
    clock,
    random: systemRandom,
    log: silentLog,
    segmentBytes: 4096,
  })
  return { buckets, bucket: buckets.get('default')! }
}

for (const entry of journal) take(entry)
let { buckets, bucket } = await openBucket()

/**
 * After a kill: what is there must be what was written, up to somewhere behind what was reported,
 * and the events that the manifest demands.
 */
function reconcile(): void {
  const { uid } = bucket.collections.manifest
  if (wantedManifest !== undefined && uid === BigInt(wantedManifest.uid)) {
    note('manifest', wantedManifest)
  } else note('manifest', manifest)
  for (const [vbid, expected] of model.entries()) {
    const found = bucket.vbucket(vbid)!
    // Behind that are events that the start has appended.
    const kept = found.persistedSeqno
    if (kept !== expected.highSeqno) note('cut', vbid, kept)
    note('persisted', vbid, kept)
    observe(found)
  }
}

const nowSeconds = () => Math.floor(clock.nowMs() / 1000)
const view = new RecordView()

function recordOf(vbucket: Vbucket, key: string): RecordView | undefined {
  const bytes = keyBytes(key)
  return bucket.documents.getMeta(vbucket, bytes, 0, bytes.length)
}

/** Takes changes into the model that no command asked for: due expirations, and system events. */
function observe(vbucket: Vbucket, exceptKey?: string): void {
  const expected = model[vbucket.id]!
  while (expected.highSeqno < vbucket.highSeqno) {
    assert.ok(bucket.changes.at(vbucket.id, expected.highSeqno + 1, view), 'it was just made')
    const change = changeIn(view)
    if (change.key === exceptKey && change.kind === RecordKind.mutation) return
    if (!change.key.includes(':')) {
      checkEvent(expected, change, manifest)
      note('change', vbucket.id, change)
      continue
    }
    const before = expected.current.get(change.key)!
    assert.equal(change.kind, RecordKind.expiration, 'only expirations come by themselves')
    assert.ok(before.time !== 0 && before.time <= change.time && change.time <= nowSeconds())
    checkNext(expected, change, { value: '', flags: 0, datatype: 0 })
    note('change', vbucket.id, change)
  }
}

function checkNext(expected: ModelVbucket, change: Change, content: Partial<Change>): void {
  const before = expected.current.get(change.key)
  assert.equal(change.seqno, expected.highSeqno + 1)
  assert.equal(change.revno, (before?.revno ?? expected.purgeSeqno) + 1, 'revision')
  assert.ok(BigInt(change.cas) > expected.maxCas, 'a CAS is greater than all before it')
  for (const [name, value] of Object.entries(content)) {
    assert.equal(change[name as keyof Change], value, name)
  }
}

/** The change that a successful command has made, which must be as expected. */
function changed(vbucket: Vbucket, key: string, content: Partial<Change>): void {
  const change = changeIn(recordOf(vbucket, key)!)
  checkNext(model[vbucket.id]!, change, content)
  const { result } = bucket.documents
  assert.equal(`${result.cas}`, change.cas)
  assert.equal(result.seqno, change.seqno)
  note('change', vbucket.id, change)
}

interface Scene {
  vbucket: Vbucket
  key: string
  /** Of its collection. */
  maxTtlSeconds: number
  /** The live document. */
  live: Change | undefined
  request: StoreRequest
  /** What the request's CAS says: nothing, the right one, a wrong one. */
  hasCas: 'none' | 'right' | 'wrong'
}

function scene(): Scene {
  const vbucket = bucket.vbucket(upTo(vbucketCount))!
  // One that has just been emptied begins with events.
  observe(vbucket)
  const { id, maxTtlSeconds } = oneOf(manifest.collections)
  const key = `${id}:key-${upTo(keysPerCollection)}`
  const live = model[vbucket.id]!.live(key, nowSeconds())
  const request = storingAs(key, `${upTo(1e6)}`.padEnd(upTo(20) === 0 ? 5000 : 8 + upTo(60), '.'))
  request.flags = upTo(4)
  request.datatype = upTo(2)
  request.expiry = upTo(4) === 0 ? 1 + upTo(3000) : 0
  const hasCas = oneOf(['none', 'none', 'right', 'wrong'] as const)
  if (hasCas !== 'none') {
    const cas = BigInt(live?.cas ?? 99) + (hasCas === 'wrong' ? 1n : 0n)
    request.casHigh = Number(cas >> 32n)
    request.casLow = Number(cas & 0xffffffffn)
  }
  return { vbucket, key, maxTtlSeconds, live, request, hasCas }
}

function storingAs(key: string, value = ''): StoreRequest {
  const request = storing('', value)
  request.key = keyBytes(key)
  request.keyLength = request.key.length
  return request
}

/** The status that a wrong or right CAS leads to; success when it does not matter. */
function casStatus({ live, hasCas }: Scene): Status {
  if (hasCas === 'none') return Status.success
  if (live === undefined) return Status.keyNotFound
  return hasCas === 'right' ? Status.success : Status.keyExists
}

/** What becomes of the expiry that a client asks for. */
function absolute(expiry: number, maxTtlSeconds: number): number {
  const most = maxTtlSeconds === 0 ? Infinity : maxTtlSeconds
  const seconds = Math.min(expiry === 0 ? Infinity : expiry, most)
  return seconds === Infinity ? 0 : nowSeconds() + seconds
}

function store(): void {
  const each = scene()
  const { vbucket, key, live, request, maxTtlSeconds } = each
  request.mode = oneOf(['set', 'set', 'add', 'replace'] as const)
  request.preserveExpiry = upTo(4) === 0
  const { value, flags, datatype, mode, expiry, preserveExpiry } = request
  let expected = casStatus(each)
  if (mode === 'add' && live) expected = Status.keyExists
  if (mode === 'replace' && !live) expected = Status.keyNotFound
  assert.equal(bucket.documents.store(vbucket, request), expected)
  if (expected !== Status.success) return
  const time = preserveExpiry && live ? live.time : absolute(expiry, maxTtlSeconds)
  const kind = RecordKind.mutation
  changed(vbucket, key, { kind, value: value.toString(), flags, datatype, time })
}

function concatenate(): void {
  const each = scene()
  const { vbucket, key, live, request, hasCas } = each
  const where = oneOf(['append', 'prepend'] as const)
  const added = request.value.toString()
  let expected = casStatus(each)
  if (!live && hasCas === 'none') expected = Status.notStored
  assert.equal(bucket.documents.concatenate(vbucket, request, where), expected)
  if (expected !== Status.success) return
  const value = where === 'append' ? live!.value + added : added + live!.value
  const { flags, time } = live!
  changed(vbucket, key, { kind: RecordKind.mutation, value, flags, datatype: 0, time })
}

function remove(): void {
  const each = scene()
  const { vbucket, key, live, request } = each
  const expected = live ? casStatus(each) : Status.keyNotFound
  assert.equal(bucket.documents.remove(vbucket, request), expected)
  if (expected !== Status.success) return
  const time = nowSeconds()
  changed(vbucket, key, { kind: RecordKind.deletion, value: '', flags: 0, datatype: 0, time })
}

function touch(): void {
  const { vbucket, key, live, maxTtlSeconds } = scene()
  const expiry = upTo(3) * 700
  const bytes = keyBytes(key)
  const time = absolute(expiry, maxTtlSeconds)
  const touched = bucket.documents.touch(vbucket, bytes, 0, bytes.length, expiry)
  if (!live) assert.equal(touched, Status.keyNotFound)
  else if (time !== live.time) {
    const { value, flags, datatype } = live
    changed(vbucket, key, { kind: RecordKind.mutation, value, flags, datatype, time })
  }
}

function increment(): void {
  const { vbucket, key, live, maxTtlSeconds } = scene()
  const request = storingAs(key)
  request.expiry = 500
  const counter = { delta: BigInt(upTo(1000)), initial: 5n, isDecrement: upTo(2) === 0 }
  const counted = count(bucket.documents, vbucket, request, counter)
  observe(vbucket, key)
  if (typeof counted !== 'bigint') {
    assert.equal(counted, Status.badDelta)
    assert.ok(live && !/^[0-9]{1,20}$/.test(live.value))
    return
  }
  const before = live && BigInt(live.value)
  const { delta, isDecrement, initial } = counter
  const after = before === undefined ? initial : isDecrement ? before - delta : before + delta
  const value = `${after < 0n ? 0n : after}`
  assert.equal(`${counted}`, value)
  const { flags, time } = live ?? { flags: 0, time: absolute(500, maxTtlSeconds) }
  changed(vbucket, key, { kind: RecordKind.mutation, value, flags, datatype: 0, time })
}

function get(): void {
  const { vbucket, key, live } = scene()
  const bytes = keyBytes(key)
  const found = bucket.documents.get(vbucket, bytes, 0, bytes.length)
  assert.deepEqual(found && changeIn(found), live)
  observe(vbucket)
}

async function persist(): Promise<void> {
  const vbucket = bucket.vbucket(upTo(vbucketCount))!
  if (vbucket.highSeqno === 0) return
  const seqno = 1 + upTo(vbucket.highSeqno)
  await bucket.whenPersisted(vbucket.id, seqno)
  assert.ok(vbucket.persistedSeqno >= seqno)
  note('persisted', vbucket.id, vbucket.persistedSeqno)
}

async function compact(): Promise<void> {
  const vbucket = bucket.vbucket(upTo(vbucketCount))!
  const { id } = vbucket
  const expected = model[id]!
  // While something of a collection is there, it is remembered that it was dropped.
  await erased(vbucket)
  observe(vbucket)
  const { highSeqno } = expected
  const hold = upTo(2) === 0 ? upTo(highSeqno + 1) : Infinity
  // A run that was killed in the middle of this may have left a durable one.
  bucket.holds.release(id, 'model')
  if (hold !== Infinity) bucket.holds.set(id, 'model', hold, Infinity, upTo(2) === 0)
  const request = { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true }
  await bucket.compact(id, request)
  if (hold !== Infinity) bucket.holds.release(id, 'model')
  note('persisted', id, highSeqno)
  note('purge', id, Math.min(hold, highSeqno - 1))
  assert.equal(bucket.vbucket(id)!.purgeSeqno, expected.purgeSeqno)
}

async function passTime(): Promise<void> {
  note('clock', 1000 * (1 + upTo(pagerIntervalSeconds)))
  // A pass of the pager may have begun.
  for (let i = 0; i < 4; i++) await new Promise(resolve => setImmediate(resolve))
  for (const vbucket of bucket.vbuckets()) observe(vbucket)
}

interface Pinned {
  reference: SnapshotReference
  expected: ReturnType<ModelVbucket['at']>
}
const pinned: Pinned[] = []

async function pin(): Promise<void> {
  const vbid = upTo(vbucketCount)
  const request = { holder: `holder-${upTo(3)}`, reason: 'model', atLeastSeqno: 0 }
  const reference = await bucket.snapshots.pin(vbid, request)
  const { persistedSeqno, purgeSeqno } = reference
  assert.ok(persistedSeqno <= model[vbid]!.highSeqno)
  pinned.push({ reference, expected: model[vbid]!.at(persistedSeqno, purgeSeqno) })
}

/** Reads a pinned snapshot, which shows what the model held when it was pinned. */
async function scan(): Promise<void> {
  const [taken] = pinned.splice(upTo(pinned.length), 1)
  if (!taken) return
  const { reference, expected } = taken
  const afterSeqno = upTo(reference.persistedSeqno + 1)
  const found = await scanned(bucket, reference, afterSeqno, () => 1 + upTo(20_000))
  const held = expectedScan(expected.held, afterSeqno)
  const certain = (changes: typeof held) =>
    changes.filter(({ seqno }) => !expected.mayBeGone.has(seqno))
  assert.deepEqual(certain(found), certain(held))
  for (const { seqno } of found) assert.ok(held.some(each => each.seqno === seqno))
  reference.release()
}

async function reopen(): Promise<void> {
  while (pinned.length > 0) pinned.pop()!.reference.release()
  await buckets.close()
  ;({ buckets, bucket } = await openBucket())
  for (const [vbid, { highSeqno }] of model.entries()) note('persisted', vbid, highSeqno)
}

/** Empties a vbucket by one of three ways; its new life begins at once or later. */
async function empty(): Promise<void> {
  const vbid = upTo(vbucketCount)
  if (upTo(3) === 0) {
    const flushed = bucket.flush()
    for (let each = 0; each < vbucketCount; each++) note('empty', each)
    if (upTo(2) === 0) store()
    await flushed
    return
  }
  const deleted = bucket.deleteVbucket(vbid)
  note('empty', vbid)
  if (upTo(2) === 0) await deleted
  const made = bucket.setState(vbid, VbucketState.active)
  for (let i = upTo(5); i > 0; i--) store()
  await Promise.all([deleted, made])
}

/** Creates or drops a scope or a collection; names come back, ids never do. */
async function changeManifest(): Promise<void> {
  const change = anyChange(manifest, upTo)
  const next = changedManifest(manifest, change)
  if (next !== undefined) note('wanted manifest', next)
  const status = await askFor(change, bucket.collections, manifest)
  assert.equal(status, next === undefined ? Status.keyExists : Status.success)
  if (next !== undefined) note('manifest', next)
  for (const vbucket of bucket.vbuckets()) observe(vbucket)
}

/** Gets somewhere between the question and the last of the system events. */
async function beginManifestChange(): Promise<void> {
  const change = anyChange(manifest, upTo)
  const next = changedManifest(manifest, change)
  if (next === undefined) return
  note('wanted manifest', next)
  void askFor(change, bucket.collections, manifest)
  for (let turns = upTo(60); turns > 0; turns--) await new Promise(done => setImmediate(done))
}

/** Nothing is left on disk of collections that were dropped. */
async function erased(vbucket: Vbucket): Promise<void> {
  while (bucket.vbucket(vbucket.id) === vbucket && vbucket.collections.doomed.size > 0) {
    await new Promise(resolve => setImmediate(resolve))
  }
}

/** Compares everything there is. */
async function verify(): Promise<void> {
  checkManifest(bucket.collections.manifest, manifest)
  for (const vbucket of bucket.vbuckets()) {
    if (upTo(2) === 0) await erased(vbucket)
  }
  for (const vbucket of bucket.vbuckets()) observe(vbucket)
  const bytes = model.reduce((sum, expected) => sum + expected.held().bytes, 0)
  assert.equal(bucket.shape.quota.usedBytes, bytes)
  for (const [vbid, expected] of model.entries()) {
    const vbucket = bucket.vbucket(vbid)!
    assert.deepEqual(lackingEvents(expected, manifest), [])
    assert.equal(vbucket.highSeqno, expected.highSeqno)
    assert.equal(vbucket.purgeSeqno, expected.purgeSeqno)
    assert.ok(vbucket.persistedSeqno >= expected.persisted)
    assert.ok(vbucket.maxCas >= expected.maxCas)
    const { itemCount: items, documentBytes } = vbucket
    assert.deepEqual({ items, bytes: documentBytes }, expected.held())
    if (vbucket.collections.doomed.size === 0) {
      assert.equal(vbucket.tombstoneCount, expected.tombstones)
    }
    for (const { id } of manifest.collections) verifyCollection(vbucket, id)
    const lowest = bucket.changes.lowestSeqno(vbid, vbucket.highSeqno)
    for (const change of expected.changes.slice(lowest - 1)) {
      assert.ok(bucket.changes.at(vbid, change.seqno, view))
      assert.deepEqual(changeIn(view), change)
    }
  }
}

function verifyCollection(vbucket: Vbucket, id: number): void {
  const expected = model[vbucket.id]!
  const { items, bytes } = vbucket.heldBy(id)
  assert.deepEqual({ items, bytes }, expected.held(id))
  assert.equal(vbucket.collections.highSeqno(id), expected.highSeqnoOf(id))
  for (let i = 0; i < keysPerCollection; i++) {
    const key = `${id}:key-${i}`
    const found = recordOf(vbucket, key)
    assert.deepEqual(found && changeIn(found), expected.current.get(key))
  }
}

const weighted: readonly [number, () => void | Promise<void>][] = [
  [30, store],
  [8, concatenate],
  [14, remove],
  [8, touch],
  [5, increment],
  [20, get],
  [4, persist],
  [2, compact],
  [3, passTime],
  [4, pin],
  [4, scan],
  [0.6, empty],
  [2, verify],
  [2, () => committed(bucket)],
  [0.15, reopen],
  [1.5, changeManifest],
]
const total = weighted.reduce((sum, [weight]) => sum + weight, 0)

function pick(): () => void | Promise<void> {
  let left = random() * total
  for (const [weight, command] of weighted) {
    left -= weight
    if (left < 0) return command
  }
  return verify
}

reconcile()
await verify()
for (let i = 0; i < Number(commands); i++) {
  // The pager may have been at work meanwhile.
  for (const vbucket of bucket.vbuckets()) observe(vbucket)
  await pick()()
  if (i % 40 === 0) await new Promise(resolve => setImmediate(resolve))
}
await verify()
if (ending === 'kill') {
  if (upTo(2) === 0) await beginManifestChange()
  process.kill(process.pid, 'SIGKILL')
}
while (pinned.length > 0) await scan()
await buckets.close()
for (const [vbid, { highSeqno }] of model.entries()) note('persisted', vbid, highSeqno)
