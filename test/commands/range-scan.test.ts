/** RANGE_SCAN_CREATE, CONTINUE and CANCEL as a client sees them. */
import t, { type Test } from 'tap'
import {
  decodeScannedDocuments,
  decodeScannedKeys,
  encodeFeatures,
  encodeRangeScanCancel,
  encodeRangeScanContinue,
  encodeSetVbucketExtras,
  encodeStoreExtras,
} from '../../protocol/commands/index.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Feature } from '../../protocol/feature.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { eventually, serve, type ServedOptions, type TestClient } from '../server/harness.ts'
import { committed } from '../support/bucket.ts'
import { repeated } from '../support/snappy-blocks.ts'

const vbid = 5
const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64')
const wholeRange = { start: base64(''), end: base64('\xff') }

const create = (request: object) => ({
  opcode: Opcode.rangeScanCreate,
  vbid,
  value: JSON.stringify(request),
  datatype: Datatype.json,
})
const goOn = (scanId: string, limits: { items?: number; ms?: number; bytes?: number } = {}) => ({
  opcode: Opcode.rangeScanContinue,
  vbid,
  extras: encodeRangeScanContinue({
    scanId,
    itemsMax: limits.items ?? 0,
    timeMaxMs: limits.ms ?? 0,
    bytesMax: limits.bytes ?? 0,
  }),
})
const cancel = (scanId: string) => ({
  opcode: Opcode.rangeScanCancel,
  vbid,
  extras: encodeRangeScanCancel(scanId),
})
const set = (key: string, value: string | Buffer, datatype = 0) => ({
  opcode: Opcode.set,
  vbid,
  key,
  value,
  datatype,
  extras: encodeStoreExtras({ flags: 7, expiry: 0 }),
})

async function scene(t: Test, options: ServedOptions = {}) {
  const served = await serve(t, options)
  const one = await served.client()
  const features = [Feature.json, Feature.xerror, Feature.snappy]
  await one.call({ opcode: Opcode.hello, value: encodeFeatures(features) })
  for (let i = 0; i < 25; i++) await one.call(set(`key-${i}`, `value ${i}`))
  await committed(served.bucket)
  return { ...served, one, vbuuid: served.bucket.vbucket(vbid)!.failoverLog.vbuuid }
}

const keysIn = (frame: Frame) => decodeScannedKeys(frame.value())!.map(key => key.toString())

async function idOf(client: TestClient, request: object): Promise<string> {
  const answer = await client.call(create(request))
  t.equal(answer.status, Status.success, answer.value().toString())
  return answer.value().toString('hex')
}

t.test('keys come in order, as many as were asked for, until the scan is complete', async t => {
  const { one, bucket } = await scene(t)
  const id = await idOf(one, { key_only: true, range: wholeRange })
  t.equal(id.length, 32)
  const first = await one.call(goOn(id, { items: 10 }))
  t.equal(first.status, Status.rangeScanMore)
  t.equal(first.extras().toString('hex'), '00000000')
  const second = await one.call(goOn(id))
  t.equal(second.status, Status.rangeScanComplete)
  const expected = Array.from({ length: 25 }, (_, i) => `key-${i}`).sort()
  t.same([...keysIn(first), ...keysIn(second)], expected)
  t.equal((await one.call(goOn(id))).status, Status.keyNotFound, 'it is gone')
  t.equal(bucket.snapshots.pins().length, 0, 'and so is its snapshot')
})

t.test('documents come with flags, seqno and cas; ranges have ends', async t => {
  const { one, bucket } = await scene(t)
  await one.call(set('zip', repeated('z', 300), Datatype.snappy))
  await committed(bucket)
  const id = await idOf(one, { range: { excl_start: base64('key-8'), end: base64('zip') } })
  const answer = await one.call(goOn(id, { ms: 10_000 }))
  t.equal(answer.status, Status.rangeScanComplete)
  t.equal(answer.extras().toString('hex'), '00000001')
  const [nine, zip, ...rest] = decodeScannedDocuments(answer.value())!
  t.same(rest, [])
  t.match(nine, { flags: 7, expiry: 0, seqno: 10, datatype: 0 })
  t.equal(nine!.key.toString(), 'key-9')
  t.equal(nine!.value.toString(), 'value 9')
  t.equal(nine!.cas, (await one.call({ opcode: Opcode.get, vbid, key: 'key-9' })).cas)
  t.equal(zip!.datatype, Datatype.snappy, 'as it is stored')
})

t.test('what is wrong with a request is told', async t => {
  const { one } = await scene(t)
  const key = base64('k')
  const refused = [
    {},
    { range: {} },
    { range: { start: key } },
    { range: { start: key, excl_start: key, end: key } },
    { range: { start: key, end: '?' } },
    { range: { start: key, end: base64('k'.repeat(251)) } },
    { range: wholeRange, sampling: { samples: 4 } },
    { sampling: {} },
    { sampling: { samples: -1 } },
    { range: wholeRange, name: 'n'.repeat(51) },
    { range: wholeRange, key_only: 'yes' },
    { range: wholeRange, collection: 'x' },
    { range: wholeRange, snapshot_requirements: { seqno: 1 } },
    { range: wholeRange, snapshot_requirements: { vb_uuid: 'uuid', seqno: 1 } },
  ]
  for (const request of refused) {
    const answer = await one.call(create(request))
    t.equal(answer.status, Status.invalidArguments, JSON.stringify(request))
    t.match(JSON.parse(answer.value().toString()), { error: { context: /./ } })
  }
  const raw = { ...create({ range: wholeRange }), datatype: 0 }
  t.equal((await one.call(raw)).status, Status.invalidArguments)
  t.equal((await one.call({ ...create({}), value: '{' })).status, Status.invalidArguments)
  const xattrs = { range: wholeRange, include_xattrs: true }
  t.equal((await one.call(create(xattrs))).status, Status.notSupported, 'not negotiated')
  const unknown = { range: wholeRange, collection: '8' }
  t.equal((await one.call(create(unknown))).status, Status.unknownCollection)
  const empty = { range: { start: base64('l'), end: base64('m') } }
  t.equal((await one.call(create(empty))).status, Status.keyNotFound)
  t.equal(
    (await one.call({ ...create({ sampling: { samples: 3 } }), vbid: 6 })).status,
    Status.keyNotFound,
  )
  t.equal((await one.call(goOn('00'.repeat(16)))).status, Status.keyNotFound)
  t.equal((await one.call(cancel('00'.repeat(16)))).status, Status.keyNotFound)
})

t.test('a snapshot has to meet what is required of it', async t => {
  const { one, vbuuid, bucket } = await scene(t)
  const required = (requirements: object) =>
    create({
      key_only: true,
      range: wholeRange,
      snapshot_requirements: { vb_uuid: String(vbuuid), seqno: 25, ...requirements },
    })
  t.equal((await one.call(required({}))).status, Status.success)
  t.equal((await one.call(required({ seqno_exists: true }))).status, Status.success)
  t.equal((await one.call(required({ vb_uuid: '1' }))).status, Status.vbuuidNotEqual)
  const signed = String(BigInt.asIntN(64, vbuuid))
  t.equal((await one.call(required({ vb_uuid: signed }))).status, Status.success, 'as Java has it')
  t.equal((await one.call(required({ seqno: 99 }))).status, Status.temporaryFailure)
  t.equal((await one.call(required({ seqno: 99, timeout_ms: 5 }))).status, Status.temporaryFailure)
  await one.call(set('key-3', 'anew'))
  const waited = await one.call(required({ seqno: 26, seqno_exists: true, timeout_ms: 5000 }))
  t.equal(waited.status, Status.success, 'it was waited for')
  const gone = await one.call(required({ seqno: 4, seqno_exists: true }))
  t.equal(gone.status, Status.notStored, 'the key has a newer version')
  for (let i = 0; i < 4; i++) await one.call(required({}))
  t.equal((await one.call(required({}))).status, Status.busy, 'there are as many as there may be')
  bucket.rangeScans.close()
  t.equal(bucket.snapshots.pins().length, 0)
})

t.test('a scan ends with its vbucket, when it is cancelled, and when it is too old', async t => {
  const clock = new ManualClock()
  const { one, bucket } = await scene(t, { clock })
  const request = { key_only: true, range: wholeRange }
  const cancelled = await idOf(one, request)
  t.equal((await one.call(cancel(cancelled))).status, Status.success)
  t.equal((await one.call(goOn(cancelled))).status, Status.keyNotFound)
  await idOf(one, request)
  clock.advance(181_000)
  t.equal(bucket.rangeScans.count, 0, 'too old')
  const ofVbucket = await idOf(one, request)
  const state = (to: VbucketState) => ({
    opcode: Opcode.setVbucket,
    vbid,
    extras: encodeSetVbucketExtras(to),
  })
  await one.call(state(VbucketState.dead))
  t.equal((await one.call(goOn(ofVbucket))).status, Status.notMyVbucket)
  await one.call(state(VbucketState.active))
  t.equal((await one.call(goOn(ofVbucket))).status, Status.keyNotFound)
  t.equal(bucket.snapshots.pins().length, 0)
})

t.test(
  'a sample is drawn by a seed of up to 64 bits, which clients may count with a sign',
  async t => {
    const { one } = await scene(t)
    // As text, since numbers of JavaScript do not have as many bits.
    const sampled = async (seed: string) => {
      const value = `{"key_only":true,"sampling":{"samples":12,"seed":${seed}}}`
      const answer = await one.call({ ...create({}), value })
      t.equal(answer.status, Status.success, seed)
      const read = await one.call(goOn(answer.value().toString('hex')))
      t.equal(read.status, Status.rangeScanComplete)
      return keysIn(read)
    }
    const first = await sampled('18446744073709551615')
    t.same(await sampled('18446744073709551615'), first)
    t.notSame(await sampled('9260067521456524671'), first)
    await sampled('-5370536464321941497')
    const broken = { ...create({}), value: '{"sampling":{"samples":1,"seed":0.5}}' }
    t.equal((await one.call(broken)).status, Status.invalidArguments)
  },
)

t.test('a scan ends when its collection is dropped', async t => {
  const { one, bucket } = await scene(t)
  const { collections, rangeScans } = bucket
  const whole = { key_only: true, range: wholeRange }
  const ofDefault = await idOf(one, whole)
  await collections.createScope('shop')
  const { id } = await collections.createCollection('shop', 'orders')
  const features = [Feature.json, Feature.xerror, Feature.collections]
  await one.call({ opcode: Opcode.hello, value: encodeFeatures(features) })
  const prefix = String.fromCharCode(id)
  for (let i = 0; i < 3; i++) await one.call(set(`${prefix}key-${i}`, 'an order'))
  await committed(bucket)
  const request = { ...whole, collection: id.toString(16) }
  const idle = await idOf(one, request)
  const continued = await idOf(one, request)
  t.same(keysIn(await one.call(goOn(continued, { items: 1 }))), ['key-0'])
  t.equal((await one.call(goOn(continued, { items: 1 }))).status, Status.rangeScanMore)
  await one.call(goOn(ofDefault, { items: 1 }))
  const limits = { itemsMax: 1, timeMaxMs: 0, bytesMax: 0 }
  const dropped = collections.dropCollection('shop', 'orders')
  // The scan is being read while the collection goes.
  const during = new Promise<unknown>(resolve => {
    bucket.events.prependOnceListener('manifest', () => {
      resolve(rangeScans.continue(vbid, continued, limits).catch((error: unknown) => error))
    })
  })
  await dropped
  t.match(await during, { status: Status.unknownCollection })
  t.equal(bucket.snapshots.pins().length, 1, 'that of the scan of another collection')
  for (const id of [continued, idle]) {
    const status = id === idle ? Status.unknownCollection : Status.keyNotFound
    t.equal((await one.call(goOn(id))).status, status)
    t.equal((await one.call(goOn(id))).status, Status.keyNotFound, 'the client knows')
  }
  t.equal((await one.call(create(request))).status, Status.unknownCollection)
  t.equal((await one.call(goOn(ofDefault))).status, Status.rangeScanComplete, 'another goes on')
  t.equal(rangeScans.count, 0)
  t.equal(bucket.snapshots.pins().length, 0)
})

t.test('a scan that may take no longer answers what it has, and goes on when asked', async t => {
  // It moves by a second whenever it is looked at.
  class HastyClock extends ManualClock {
    #seconds = 0
    override monotonicMs(): number {
      return ++this.#seconds * 1000
    }
  }
  const { one, bucket } = await scene(t, { clock: new HastyClock() })
  for (let i = 25; i < 200; i++) await one.call(set(`key-${i}`, `value ${i}`))
  await committed(bucket)
  const id = await idOf(one, { key_only: true, range: wholeRange })
  const found: string[] = []
  let answers = 0
  for (let status: number = Status.rangeScanMore; status === Status.rangeScanMore; answers++) {
    const answer = await one.call(goOn(id, { ms: 100 }))
    found.push(...keysIn(answer))
    status = answer.status
  }
  t.same(found, Array.from({ length: 200 }, (_, i) => `key-${i}`).sort())
  t.ok(answers > 2, 'the time was over before the keys were')
})

t.test('two clients do not continue one scan, and who leaves ends it', async t => {
  const { one, bucket } = await scene(t)
  const id = await idOf(one, { key_only: true, range: wholeRange })
  const { rangeScans } = bucket
  const limits = { itemsMax: 1, timeMaxMs: 0, bytesMax: 0 }
  const both = [rangeScans.continue(vbid, id, limits), rangeScans.continue(vbid, id, limits)]
  rangeScans.abandon(id)
  t.match(await Promise.allSettled(both), [
    { status: 'rejected', reason: { status: Status.rangeScanCancelled } },
    { status: 'rejected', reason: { status: Status.busy } },
  ])
  await eventually(() => bucket.snapshots.pins().length === 0)
})
