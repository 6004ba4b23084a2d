import t from 'tap'
import {
  decodeCounterExtras,
  decodeStoreExtras,
  decodeWithMeta,
  encodeCounterValue,
  encodeFlagsExtras,
  encodeMeta,
  encodeMutationToken,
  encodeObserveSeqnoResponse,
  encodeVbSeqnos,
  encodeVbucketStateValue,
} from '../../protocol/commands/index.ts'
import { encodeFailoverLog } from '../../protocol/dcp/failover-log.ts'
import { decodeRequestFraming, DurabilityLevel, RequestFraming } from '../../protocol/framing.ts'
import { vbucketOf } from '../../protocol/key-hash.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { KvClient, type KvClientOptions } from '../../src/client/index.ts'
import { ScriptedServer, until, type Script } from './scripted-server.ts'

type Test = Parameters<typeof ScriptedServer.start>[0]

async function open(t: Test, script: Script, options: KvClientOptions = { vbucketCount: 1024 }) {
  const server = await ScriptedServer.start(t, script)
  const client = await KvClient.connect({ port: server.port, bucket: false, ...options })
  t.teardown(() => client.destroy())
  return { server, client, lastFrame: () => server.last.received.at(-1)! }
}

const token = { vbuuid: 0xfedcba9876543210n, seqno: 77 }

t.test('a document comes with value, flags, cas and datatype', async t => {
  const { client, lastFrame } = await open(t, (frame, peer) => {
    if (frame.opcode === Opcode.hello) return false
    peer.reply(frame, { value: '{}', extras: encodeFlagsExtras(0x2000000), cas: 9n, datatype: 1 })
    return true
  })
  const expected = { value: Buffer.from('{}'), flags: 0x2000000, cas: 9n, datatype: 1 }
  t.same(await client.get('airline_10'), expected)
  t.equal(lastFrame().vbid, vbucketOf('airline_10', 1024))
  t.same(await client.getAndTouch('airline_10', 60), expected)
  t.equal(lastFrame().opcode, Opcode.gat)
  t.equal(lastFrame().extrasUint32(0), 60)
  t.same(await client.getAndLock('airline_10', 5), expected)
  t.equal(lastFrame().opcode, Opcode.getLocked)
  t.equal(lastFrame().extrasUint32(0), 5)
  await client.getAndLock('airline_10')
  t.equal(lastFrame().extrasLength, 0)
  await client.unlock('airline_10', 9n)
  t.match(lastFrame(), { opcode: Opcode.unlockKey, cas: 9n })
  await client.get('airline_10', { vbid: 3 })
  t.equal(lastFrame().vbid, 3)
})

t.test('a miss is undefined where one reads, an error where one writes', async t => {
  const { client } = await open(t, (frame, peer) => {
    if (frame.opcode === Opcode.hello) return false
    peer.reply(frame, { status: Status.keyNotFound, value: 'Not found' })
    return true
  })
  t.equal(await client.get('k'), undefined)
  t.equal(await client.getAndTouch('k', 1), undefined)
  t.equal(await client.getAndLock('k'), undefined)
  t.equal(await client.getMeta('k'), undefined)
  const missing = { status: Status.keyNotFound, name: 'ServerError' }
  await t.rejects(client.remove('k'), missing)
  await t.rejects(client.replace('k', 'v'), missing)
  await t.rejects(client.touch('k', 1), missing)
  await t.rejects(client.increment('k'), missing)
})

t.test('mutations carry what was asked for and return cas and token', async t => {
  const { client, lastFrame } = await open(t, (frame, peer) => {
    if (frame.opcode === Opcode.hello) return false
    peer.reply(frame, { cas: 12n, extras: encodeMutationToken(token) })
    return true
  })
  const framing = new RequestFraming()
  const result = { cas: 12n, token }
  t.same(await client.set('k', 'v', { flags: 1, expiry: 2, cas: 3n, datatype: 1 }), result)
  t.match(lastFrame(), { opcode: Opcode.set, cas: 3n, datatype: 1, framingLength: 0 })
  t.same(decodeStoreExtras(lastFrame()), { flags: 1, expiry: 2 })
  t.equal(lastFrame().value().toString(), 'v')
  const durable = { durability: 'persistToMajority', durabilityTimeoutMs: 500 } as const
  t.same(await client.add('k', Buffer.from('v'), { ...durable, preserveExpiry: true }), result)
  t.equal(decodeRequestFraming(lastFrame(), framing), undefined)
  t.match(framing, {
    durabilityLevel: DurabilityLevel.persistToMajority,
    durabilityTimeoutMs: 500,
    preserveExpiry: true,
  })
  for (const [method, opcode] of [
    ['append', Opcode.append],
    ['prepend', Opcode.prepend],
    ['replace', Opcode.replace],
  ] as const) {
    t.same(await client[method]('k', 'v', { cas: 8n }), result)
    t.match(lastFrame(), { opcode, cas: 8n, valueLength: 1 })
    t.equal(lastFrame().extrasLength, method === 'replace' ? 8 : 0)
  }
  t.same(await client.remove('k', { durability: 'majority' }), result)
  t.equal(decodeRequestFraming(lastFrame(), framing), undefined)
  t.equal(framing.durabilityLevel, DurabilityLevel.majority)
  t.equal(lastFrame().opcode, Opcode.delete)
  t.same(await client.touch('k', 30), result)
})

t.test('counters', async t => {
  const { client, lastFrame } = await open(t, (frame, peer) => {
    if (frame.opcode === Opcode.hello) return false
    peer.reply(frame, { cas: 12n, value: encodeCounterValue(2n ** 63n + 1n) })
    return true
  })
  const result = { cas: 12n, token: undefined, value: 2n ** 63n + 1n }
  t.same(await client.increment('k'), result)
  t.same(decodeCounterExtras(lastFrame()), { delta: 1n, initial: 0n, expiry: 0xffffffff })
  t.same(await client.decrement('k', { delta: 5n, initial: 7n, expiry: 9 }), result)
  t.same(decodeCounterExtras(lastFrame()), { delta: 5n, initial: 7n, expiry: 9 })
  t.equal(lastFrame().opcode, Opcode.decrement)
})

t.test('meta, and mutations that bring theirs', async t => {
  const meta = { isDeleted: true, flags: 1, expiry: 2, revno: 3, datatype: 1 }
  const { client, lastFrame } = await open(t, (frame, peer) => {
    if (frame.opcode === Opcode.hello) return false
    peer.reply(frame, { cas: 12n, extras: encodeMeta(meta) })
    return true
  })
  t.same(await client.getMeta('k'), { ...meta, cas: 12n })
  const options = { cas: 2n ** 60n + 5n, revno: 44, flags: 6, expiry: 7, options: 8 }
  await client.setWithMeta('k', 'v', { ...options, datatype: 1, currentCas: 11n })
  t.match(lastFrame(), { opcode: Opcode.setWithMeta, datatype: 1, cas: 11n })
  t.match(decodeWithMeta(lastFrame()), {
    flags: 6,
    expiry: 7,
    revno: 44,
    casHigh: 2 ** 28,
    casLow: 5,
    options: 8,
  })
  await client.deleteWithMeta('k', { cas: 1n, revno: 2 })
  t.match(lastFrame(), { opcode: Opcode.delWithMeta, cas: 0n, extrasLength: 24 })
})

t.test('what a node can be asked apart from documents', async t => {
  const observed = {
    vbid: 5,
    vbuuid: 9n,
    persistedSeqno: 3,
    currentSeqno: 4,
    failover: { oldVbuuid: 8n, lastSeqno: 2 },
  }
  const log = [{ vbuuid: 3n, seqno: 4 }]
  const values: Record<number, string | Uint8Array> = {
    [Opcode.version]: '1.2.3',
    [Opcode.getVbucket]: encodeVbucketStateValue(VbucketState.replica),
    [Opcode.getAllVbSeqnos]: encodeVbSeqnos([{ vbid: 1, seqno: 2 }]),
    [Opcode.observeSeqno]: encodeObserveSeqnoResponse(observed),
    [Opcode.getFailoverLog]: encodeFailoverLog(log),
    [Opcode.listBuckets]: 'default travel',
    [Opcode.getClusterConfig]: '{"rev":4}',
  }
  const { client, lastFrame } = await open(t, (frame, peer) => {
    const value = values[frame.opcode]
    if (value === undefined) return false
    peer.reply(frame, { value })
    return true
  })
  await client.noop()
  t.equal(await client.version(), '1.2.3')
  t.equal(await client.vbucketState(5), VbucketState.replica)
  t.equal(lastFrame().vbid, 5)
  t.same(await client.allVbSeqnos(), new Map([[1, 2]]))
  t.equal(lastFrame().extrasLength, 0)
  await client.allVbSeqnos(VbucketState.active)
  t.equal(lastFrame().extrasUint32(0), VbucketState.active)
  t.same(await client.observeSeqno(5, 9n), observed)
  t.same(await client.failoverLog(5), log)
  t.same(await client.listBuckets(), ['default', 'travel'])
  t.same(await client.clusterConfig(), { rev: 4 })
  await client.setVbucketState(6, VbucketState.active)
  t.match(lastFrame(), { opcode: Opcode.setVbucket, vbid: 6, extrasLength: 1 })
  await client.deleteVbucket(6)
  t.equal(lastFrame().value().toString(), 'async=0')
  await client.compact(7, { dropDeletes: true })
  t.match(lastFrame(), { opcode: Opcode.compactDb, vbid: 7, extrasLength: 24 })
  await client.seqnoPersisted(7, 99)
  t.equal(lastFrame().extrasSeqno(0), 99)
  await client.flush()
  await client.createBucket('b')
  t.equal(lastFrame().value().toString(), 'ep.so')
  await client.selectBucket('b')
  await client.deleteBucket('b')
  t.equal(lastFrame().key().toString(), 'b')
})

t.test('statistics end with an empty key', async t => {
  const { client, lastFrame } = await open(t, (frame, peer) => {
    if (frame.opcode !== Opcode.stat) return false
    const group = frame.key().toString()
    if (group === 'unknown') peer.reply(frame, { status: Status.keyNotFound })
    else for (const key of ['pid', 'uptime', '']) peer.reply(frame, { key, value: `${key}!` })
    return true
  })
  t.same(Object.fromEntries(await client.stats()), { pid: 'pid!', uptime: 'uptime!' })
  await client.stats('dcp')
  t.equal(lastFrame().key().toString(), 'dcp')
  await t.rejects(client.stats('unknown'), { message: 'stat: keyNotFound' })
})

t.test('the number of vbuckets comes from the cluster map', async t => {
  const map = (value: string, status: number = Status.success): Script => {
    return (frame, peer) => {
      if (frame.opcode !== Opcode.getClusterConfig) return false
      peer.reply(frame, { value, status })
      return true
    }
  }
  const asked = await open(t, map('{"vBucketServerMap":{"vBucketMap":[[0],[0],[0]]}}'), {})
  t.equal(asked.client.vbucketCount, 3)
  t.equal(asked.client.vbucketOf('key'), vbucketOf('key', 3))
  const plain = await open(t, map('Unknown command', Status.unknownCommand), {})
  t.equal(plain.client.vbucketCount, 1)
  await t.rejects(open(t, map('{"vBucketServerMap":{}}'), {}), { code: 'HOLDFAST_PROTOCOL' })
  await t.rejects(open(t, map('nonsense'), {}))
  await t.rejects(open(t, map('', Status.noBucket), {}), { message: /noBucket/ })
})

t.test('bodies that cannot be read are errors, and the connection goes on', async t => {
  const { client } = await open(t, (frame, peer) => {
    if (frame.opcode === Opcode.hello || frame.opcode === Opcode.noop) return false
    peer.reply(frame, { value: 'xyz', extras: Buffer.alloc(3) })
    return true
  })
  const malformed = { code: 'HOLDFAST_PROTOCOL' }
  await t.rejects(client.increment('k'), malformed)
  await t.rejects(client.getMeta('k'), malformed)
  await t.rejects(client.allVbSeqnos(), malformed)
  await t.rejects(client.vbucketState(1), malformed)
  await t.rejects(client.failoverLog(1), malformed)
  await t.rejects(client.observeSeqno(1, 1n), malformed)
  await client.noop()
})

t.test('the owner is told when the connection is gone', async t => {
  const reasons: unknown[] = []
  const onClose = (error: unknown) => reasons.push(error)
  const { client, server } = await open(t, () => false, { vbucketCount: 1, onClose })
  server.last.reset()
  await t.rejects(client.noop(), { code: 'HOLDFAST_CONNECTION_LOST' })
  t.notOk(client.isOpen)
  await until(() => reasons.length > 0)
  t.match(reasons, [{ code: 'HOLDFAST_CONNECTION_LOST' }])
})
