import t from 'tap'
import {
  decodeMeta,
  decodeMutationToken,
  decodeObserveResponse,
  decodeObserveSeqnoResponse,
  decodeVbSeqnos,
  encodeAllVbSeqnosRequest,
  encodeCompactDb,
  encodeFeatures,
  encodeGetMetaVersion,
  encodeObserveRequest,
  encodeObserveSeqnoRequest,
  encodeSeqnoPersistence,
  encodeWithMeta,
  ObserveState,
  WithMetaOption,
} from '../../protocol/commands/index.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { decodeFailoverLog } from '../../protocol/dcp/index.ts'
import { Feature } from '../../protocol/feature.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { committed } from '../support/bucket.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { eventually, serve, type TestClient } from '../server/harness.ts'

const vbid = 3
const set = (key: string, value: string) => ({
  opcode: Opcode.set,
  key,
  value,
  vbid,
  extras: Buffer.alloc(8),
})
const remove = (key: string) => ({ opcode: Opcode.delete, key, vbid })

t.test('the seqnos of all vbuckets, or of those in one state', async t => {
  const { bucket, client } = await serve(t)
  const one = await client()
  await one.call(set('a', '1'))
  await one.call(set('b', '1'))
  await bucket.setState(5, VbucketState.replica)
  await bucket.setState(6, VbucketState.dead)
  const ask = async (state?: VbucketState, collection?: number) => {
    const extras = encodeAllVbSeqnosRequest({ state, collection })
    return one.call({ opcode: Opcode.getAllVbSeqnos, extras })
  }
  const all = decodeVbSeqnos(await ask())!
  t.equal(all.length, 15, 'all but dead ones')
  t.same(all[3], { vbid: 3, seqno: 2 })
  t.same(decodeVbSeqnos(await ask(VbucketState.replica)), [{ vbid: 5, seqno: 0 }])
  t.same(decodeVbSeqnos(await ask(VbucketState.dead)), [{ vbid: 6, seqno: 0 }])
  t.equal(decodeVbSeqnos(await ask(VbucketState.active, 0))!.length, 14)
  t.equal((await ask(undefined, 8)).status, Status.invalidArguments)
  const odd = { opcode: Opcode.getAllVbSeqnos, extras: Buffer.of(0, 0, 0, 9) }
  t.equal((await one.call(odd)).status, Status.invalidArguments)
})

t.test('histories are told by failover log and by observing', async t => {
  const { bucket, client } = await serve(t)
  const one = await client()
  for (const key of ['a', 'b', 'c']) await one.call(set(key, '1'))
  await committed(bucket)
  const before = bucket.vbucket(vbid)!.failoverLog.vbuuid
  await bucket.setState(vbid, VbucketState.replica)
  await bucket.setState(vbid, VbucketState.active)
  const { vbuuid } = bucket.vbucket(vbid)!.failoverLog
  t.not(vbuuid, before)
  for (const opcode of [Opcode.getFailoverLog, Opcode.dcpGetFailoverLog]) {
    const log = decodeFailoverLog(await one.call({ opcode, vbid }))
    t.same(log, [
      { vbuuid, seqno: 3 },
      { vbuuid: before, seqno: 0 },
    ])
    t.equal((await one.call({ opcode, vbid: 99 })).status, Status.notMyVbucket)
  }
  const observe = (uuid: bigint) =>
    one.call({ opcode: Opcode.observeSeqno, vbid, value: encodeObserveSeqnoRequest(uuid) })
  const now = { vbid, vbuuid, persistedSeqno: 3, currentSeqno: 3 }
  t.match(decodeObserveSeqnoResponse(await observe(vbuuid)), { ...now, failover: undefined })
  const old = decodeObserveSeqnoResponse(await observe(before))
  t.same(old!.failover, { oldVbuuid: before, lastSeqno: 3 })
  t.equal((await observe(1n)).status, Status.keyNotFound)
  const odd = { opcode: Opcode.observeSeqno, vbid, value: 'odd' }
  t.equal((await one.call(odd)).status, Status.invalidArguments)
})

t.test('a wait for persistence ends when the seqno is on disk', async t => {
  const { bucket, client } = await serve(t)
  const [one, two] = [await client(), await client()]
  const wait = (seqno: number) => ({
    opcode: Opcode.seqnoPersistence,
    vbid,
    extras: encodeSeqnoPersistence(seqno),
  })
  await one.call(set('a', '1'))
  t.equal((await one.call(wait(1))).status, Status.success)
  t.equal(bucket.vbucket(vbid)!.persistedSeqno, 1)
  one.send({ ...wait(2), opaque: 5 })
  await two.call(set('b', '1'))
  t.equal((await one.next()).opaque, 5, 'also for what has yet to be written')
  t.equal((await one.call({ ...wait(1), vbid: 99 })).status, Status.notMyVbucket)
})

t.test('a wait for persistence ends with a time-out or its client, and leaves nothing', async t => {
  const clock = new ManualClock()
  const { server, bucket, client } = await serve(t, { clock })
  const signals: AbortSignal[] = []
  const whenPersisted = bucket.whenPersisted.bind(bucket)
  bucket.whenPersisted = (at, seqno, signal) => {
    signals.push(signal!)
    return whenPersisted(at, seqno, signal)
  }
  const extras = encodeSeqnoPersistence(2 ** 40)
  const wait = { opcode: Opcode.seqnoPersistence, vbid, extras }
  const [one, two] = [await client(), await client()]
  one.send(wait)
  two.send(wait)
  await eventually(() => signals.length === 2)
  two.socket.resetAndDestroy()
  await eventually(() => server.connections === 1)
  t.equal(signals.filter(({ aborted }) => aborted).length, 1, 'who left waits no more')
  clock.advance(30_000)
  t.equal((await one.next()).status, Status.temporaryFailure)
  t.ok(signals.every(({ aborted }) => aborted))
})

t.test('compaction purges tombstones, and answers when it is done', async t => {
  const { bucket, client } = await serve(t)
  const one = await client()
  for (const key of ['a', 'b', 'c']) await one.call(set(key, '1'))
  for (const key of ['a', 'b']) await one.call(remove(key))
  await one.call(set('d', '1'))
  const compact = (dropDeletes: boolean, at = vbid) => ({
    opcode: Opcode.compactDb,
    vbid: at,
    extras: encodeCompactDb({ purgeBeforeTimeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes }),
  })
  t.equal((await one.call(compact(false))).status, Status.success)
  t.equal(bucket.vbucket(vbid)!.tombstoneCount, 2, 'they are young')
  t.equal((await one.call(compact(true))).status, Status.success)
  t.equal(bucket.vbucket(vbid)!.tombstoneCount, 0)
  t.equal(bucket.vbucket(vbid)!.purgeSeqno, 5)
  t.equal((await one.call(compact(true, 99))).status, Status.notMyVbucket)
  const odd = { ...compact(true), extras: Buffer.alloc(24, 255) }
  t.equal((await one.call(odd)).status, Status.invalidArguments)
})

t.test('a random key comes with its document, if there is any', async t => {
  const { client } = await serve(t)
  const one = await client()
  const random = { opcode: Opcode.getRandomKey }
  t.equal((await one.call(random)).status, Status.keyNotFound)
  await one.call(set('a', '1'))
  for (const extras of [Buffer.alloc(0), Buffer.alloc(4), Buffer.alloc(5)]) {
    const answer = await one.call({ ...random, extras })
    t.equal(answer.key().toString(), 'a')
    t.equal(answer.value().toString(), '1')
    t.equal(answer.extrasLength, 4)
  }
  t.equal((await one.call({ ...random, extras: Buffer.alloc(4, 1) })).status, 4)
})

t.test('observing keys tells how far their last change has come', async t => {
  const { bucket, client } = await serve(t)
  const one = await client()
  const { cas } = await one.call(set('a', '1'))
  await one.call(set('gone', '1'))
  await committed(bucket)
  await one.call(remove('gone'))
  const keys = ['a', 'gone', 'never'].map(key => ({ vbid, key: Buffer.from(key) }))
  const answer = await one.call({ opcode: Opcode.observe, value: encodeObserveRequest(keys) })
  const states = decodeObserveResponse(answer)!
  t.equal(states[0]!.state, ObserveState.persisted)
  t.equal(states[0]!.cas, cas)
  t.equal(states[2]!.state, ObserveState.notFound)
  t.equal(states.length, 3)
  await committed(bucket)
  const later = decodeObserveResponse(
    await one.call({ opcode: Opcode.observe, value: encodeObserveRequest(keys) }),
  )!
  t.equal(later[1]!.state, ObserveState.notFound, 'a deletion on disk is as if never there')
  const elsewhere = encodeObserveRequest([{ vbid: 99, key: Buffer.from('a') }])
  const refused = await one.call({ opcode: Opcode.observe, value: elsewhere })
  t.equal(refused.status, Status.notMyVbucket)
  t.equal((await one.call({ opcode: Opcode.observe, value: 'x' })).status, 4)
})

const meta = (
  opcode: number,
  key: string,
  value: string | Buffer,
  fields: { revno: number; cas: bigint; expiry?: number; flags?: number; options?: number },
) => ({
  opcode,
  key,
  value,
  vbid,
  extras: encodeWithMeta({
    flags: fields.flags ?? 0,
    expiry: fields.expiry ?? 0,
    revno: fields.revno,
    casHigh: Number(fields.cas >> 32n),
    casLow: Number(fields.cas & 0xffffffffn),
    options: fields.options,
    nmeta: undefined,
  }),
})

async function metaOf(client: TestClient, key: string) {
  const extras = encodeGetMetaVersion(2)
  const answer = await client.call({ opcode: Opcode.getMeta, key, vbid, extras })
  return answer.status === Status.success
    ? { ...decodeMeta(answer)!, cas: answer.cas }
    : answer.status
}

t.test('metadata is told of documents and tombstones', async t => {
  const { client } = await serve(t)
  const one = await client()
  await one.call(set('k', '1'))
  const { cas } = await one.call({ ...set('k', '2'), extras: Buffer.of(0, 0, 0, 7, 0, 0, 0, 0) })
  const expected = { isDeleted: false, flags: 7, expiry: 0, revno: 2, datatype: 0, cas }
  t.same(await metaOf(one, 'k'), expected)
  t.equal((await one.call({ opcode: Opcode.getMeta, key: 'k', vbid })).extrasLength, 20)
  await one.call(remove('k'))
  t.match(await metaOf(one, 'k'), { isDeleted: true, revno: 3 })
  t.equal(await metaOf(one, 'none'), Status.keyNotFound)
  const odd = { opcode: Opcode.getMeta, key: 'k', vbid, extras: Buffer.of(3) }
  t.equal((await one.call(odd)).status, Status.invalidArguments)
})

t.test(
  'metadata of what has expired is that of a deletion, of what is locked shows no cas',
  async t => {
    const clock = new ManualClock()
    const { client } = await serve(t, { clock })
    const one = await client()
    const { getLocked, observe } = Opcode
    await one.call({ ...set('k', '1'), extras: Buffer.of(0, 0, 0, 0, 0, 0, 0, 60) })
    const locked = await one.call({
      opcode: getLocked,
      key: 'k',
      vbid,
      extras: Buffer.of(0, 0, 0, 9),
    })
    t.equal(locked.status, Status.success)
    t.match(await metaOf(one, 'k'), { isDeleted: false, cas: 2n ** 64n - 1n })
    clock.advance(10_000)
    const unlocked = await metaOf(one, 'k')
    t.ok(typeof unlocked === 'object' && unlocked.cas < 2n ** 63n)
    clock.advance(51_000)
    t.match(await metaOf(one, 'k'), { isDeleted: true, revno: 1 })
    const value = encodeObserveRequest([{ vbid, key: Buffer.from('k') }])
    const [state] = decodeObserveResponse(await one.call({ opcode: observe, value }))!
    t.equal(state!.state, ObserveState.deleted)
  },
)

t.test('a CAS that no write can have is refused by name', async t => {
  const { client } = await serve(t)
  const one = await client()
  const all = 2n ** 64n - 1n
  const statuses = async () => {
    const found = []
    for (const opcode of [Opcode.setWithMeta, Opcode.addWithMeta, Opcode.delWithMeta]) {
      for (const cas of [0n, all, 2n ** 63n]) {
        found.push((await one.call(meta(opcode, 'k', '', { revno: 1, cas }))).status)
      }
    }
    return new Set(found)
  }
  t.same(await statuses(), new Set([Status.keyExists]))
  await one.call({ opcode: Opcode.hello, value: encodeFeatures([Feature.xerror]) })
  t.same(await statuses(), new Set([Status.casInvalid]))
})

t.test('of two versions the same one wins, whichever comes first', async t => {
  const { client } = await serve(t)
  const one = await client()
  const { setWithMeta } = Opcode
  const stored = await one.call(meta(setWithMeta, 'k', 'old', { revno: 5, cas: 100n, flags: 3 }))
  t.equal(stored.status, Status.success)
  t.equal(stored.cas, 100n)
  t.match(await metaOf(one, 'k'), { revno: 5, cas: 100n, flags: 3 })
  const losers = [
    { revno: 4, cas: 200n },
    { revno: 5, cas: 99n },
    { revno: 5, cas: 100n, flags: 3 },
  ]
  for (const loser of losers) {
    const refused = await one.call(meta(setWithMeta, 'k', 'lost', loser))
    t.equal(refused.status, Status.keyExists)
  }
  const winners = [
    { revno: 5, cas: 101n },
    { revno: 5, cas: 101n, expiry: 2 ** 31 },
    { revno: 5, cas: 101n, expiry: 2 ** 31, flags: 9 },
    { revno: 6, cas: 1n },
  ]
  for (const winner of winners) {
    t.equal((await one.call(meta(setWithMeta, 'k', 'won', winner))).status, Status.success)
    t.match(await metaOf(one, 'k'), { revno: winner.revno, cas: winner.cas })
  }
  const deletion = meta(Opcode.delWithMeta, 'k', '', { revno: 7, cas: 5n, expiry: 1000 })
  t.equal((await one.call(deletion)).status, Status.success)
  t.match(await metaOf(one, 'k'), { isDeleted: true, revno: 7, expiry: 1000 })
  t.equal((await one.call({ opcode: Opcode.get, key: 'k', vbid })).status, Status.keyNotFound)
})

t.test('options of writes with metadata', async t => {
  const { client } = await serve(t)
  const one = await client()
  const { setWithMeta, addWithMeta, delWithMeta } = Opcode
  const { skipConflictResolution, force, regenerateCas, forceAccept, isExpiration } = WithMetaOption
  await one.call(meta(setWithMeta, 'k', '1', { revno: 9, cas: 900n }))
  const low = { revno: 1, cas: 10n }
  const status = async (opcode: number, options: number, key = 'k', fields = low) =>
    (await one.call(meta(opcode, key, '', { ...fields, options }))).status
  t.equal(await status(setWithMeta, 0), Status.keyExists)
  t.equal(await status(setWithMeta, skipConflictResolution), Status.success)
  t.match(await metaOf(one, 'k'), low)
  t.equal(await status(setWithMeta, force), Status.success)
  t.equal(await status(setWithMeta, regenerateCas), Status.invalidArguments)
  const both = regenerateCas | skipConflictResolution
  t.equal(await status(setWithMeta, both, 'k', { revno: 3, cas: 0n }), Status.success)
  const regenerated = await metaOf(one, 'k')
  t.ok(typeof regenerated === 'object' && regenerated.cas > 1000n && regenerated.revno === 3)
  t.equal(await status(setWithMeta, forceAccept), Status.invalidArguments)
  t.equal(await status(setWithMeta, isExpiration), Status.invalidArguments)
  t.equal(await status(setWithMeta, 0x1000), Status.invalidArguments)
  t.equal(await status(setWithMeta, 0, 'k', { revno: 99, cas: 0n }), Status.keyExists)
  t.equal(await status(addWithMeta, skipConflictResolution), Status.keyExists)
  t.equal(await status(addWithMeta, 0, 'new'), Status.success)
  t.equal(await status(delWithMeta, isExpiration, 'new', { revno: 2, cas: 20n }), Status.success)
  t.match(await metaOf(one, 'new'), { isDeleted: true, revno: 2 })
  const stale = { ...meta(setWithMeta, 'k', '', { revno: 50, cas: 50n }), cas: 1n }
  t.equal((await one.call(stale)).status, Status.keyExists)
})

t.test('lengths of the extras of writes with metadata', async t => {
  const { client } = await serve(t)
  const one = await client()
  const base = meta(Opcode.setWithMeta, 'k', 'valueMETA', { revno: 1, cas: 1n }).extras
  const nmeta = Buffer.of(0, 4)
  const options = Buffer.alloc(4)
  const send = (revno: number, ...more: Buffer[]) => {
    const extras = Buffer.concat([base, ...more])
    extras.writeUInt32BE(revno, 12)
    const fields = { opcode: Opcode.setWithMeta, key: 'k', value: 'valueMETA', vbid, extras }
    return one.call(fields)
  }
  const value = async () =>
    (await one.call({ opcode: Opcode.get, key: 'k', vbid })).value().toString()
  t.equal((await send(1)).status, Status.success)
  t.equal(await value(), 'valueMETA')
  t.equal((await send(2, nmeta)).status, Status.success)
  t.equal(await value(), 'value', 'what is no part of the document is cut off')
  t.equal((await send(3, options)).status, Status.success)
  t.equal((await send(4, options, nmeta)).status, Status.success)
  t.equal(await value(), 'value')
  t.equal((await send(5, Buffer.alloc(3))).status, Status.invalidArguments)
  t.equal((await send(5, Buffer.of(0, 99))).status, Status.invalidArguments)
})

t.test('attributes come in with metadata, and plain reads do not see them', async t => {
  const { client } = await serve(t)
  const one = await client()
  await one.call({
    opcode: Opcode.hello,
    value: encodeFeatures([Feature.json, Feature.mutationSeqno]),
  })
  const attributes = Buffer.from('0000000a00000006610022312200', 'hex')
  const datatype = Datatype.xattr | Datatype.json
  const whole = Buffer.concat([attributes, Buffer.from('{}')])
  const first = { revno: 1, cas: 1n }
  const stored = await one.call({ ...meta(Opcode.setWithMeta, 'k', whole, first), datatype })
  t.equal(decodeMutationToken(stored)!.seqno, 1)
  const read = await one.call({ opcode: Opcode.get, key: 'k', vbid })
  t.equal(read.value().toString(), '{}')
  t.equal(read.datatype, Datatype.json)
  const random = await one.call({ opcode: Opcode.getRandomKey, extras: Buffer.of(0, 0, 0, 0, 1) })
  t.equal(random.valueLength, whole.length)
  t.equal(random.datatype, datatype)
  t.match(await metaOf(one, 'k'), { datatype })
  const next = { revno: 2, cas: 2n }
  const cut = { ...meta(Opcode.setWithMeta, 'k', attributes.subarray(0, 6), next), datatype }
  t.equal((await one.call(cut)).status, Status.xattrInvalid)
  const { delWithMeta } = Opcode
  const kept = { ...meta(delWithMeta, 'k', attributes, next), datatype: Datatype.xattr }
  t.equal((await one.call(kept)).status, Status.success)
  const quiet = meta(Opcode.setqWithMeta, 'k', 'again', { revno: 3, cas: 3n })
  one.send(quiet, { opcode: Opcode.noop, opaque: 4 })
  t.equal((await one.next()).opaque, 4)
})
