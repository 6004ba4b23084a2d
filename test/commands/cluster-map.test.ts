/** How clients learn the cluster map: on request, pushed in full or in brief, and for their network. */
import t, { type Test } from 'tap'
import {
  decodeClusterConfigVersion,
  decodeFeatures,
  encodeFeatures,
} from '../../protocol/commands/index.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Feature } from '../../protocol/feature.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Magic } from '../../protocol/magic.ts'
import { Opcode, ServerOpcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { systemClock } from '../../src/clock.ts'
import { parseEndpoint } from '../../src/config/endpoint.ts'
import { serve, type Served, type ServedOptions } from '../server/harness.ts'

const { duplex, json, selectBucket, clustermapChange, clustermapChangeBrief } = Feature
const getConfig = { opcode: Opcode.getClusterConfig }
const parse = (frame: Frame) => JSON.parse(frame.value().toString())

async function introduced(served: Served, bucket: string, ...features: number[]) {
  const client = await served.client()
  await client.call({ opcode: Opcode.hello, value: encodeFeatures([selectBucket, ...features]) })
  await client.call({ opcode: Opcode.selectBucket, key: bucket })
  return client
}

t.test(
  'a push brings the map or its version alone, to those who asked and use the bucket',
  async t => {
    const served = await serve(t)
    const { bucket, buckets } = served
    await buckets.create('other')
    const full = await introduced(served, 'default', duplex, json, clustermapChange)
    const brief = await introduced(served, 'default', duplex, json, clustermapChangeBrief)
    const bystanders = [
      await introduced(served, 'default', duplex, json),
      await introduced(served, 'other', duplex, json, clustermapChange),
    ]
    const { rev } = parse(await full.call(getConfig))
    await bucket.setState(3, VbucketState.dead)

    const told = await full.next()
    t.equal(told.magic, Magic.serverRequest)
    t.equal(told.opcode, ServerOpcode.clustermapChange)
    t.equal(told.key().toString(), 'default')
    t.equal(told.datatype, Datatype.json)
    const map = parse(told)
    t.ok(map.rev > rev)
    t.same(decodeClusterConfigVersion(told), { epoch: map.revEpoch, revision: map.rev })
    t.same(map.vBucketServerMap.vBucketMap[3], [-1])

    const hint = await brief.next()
    t.equal(hint.opcode, ServerOpcode.clustermapChange)
    t.equal(hint.valueLength, 0)
    t.same(decodeClusterConfigVersion(hint), { epoch: map.revEpoch, revision: map.rev })
    const asked = await brief.call({ ...getConfig, extras: hint.bytes.subarray(24, 40) })
    t.equal(asked.valueLength, 0, 'who says to have that version gets nothing')

    for (const client of bystanders) {
      t.equal((await client.call({ opcode: Opcode.noop })).magic, Magic.response)
      t.equal(client.waiting, 0)
    }
    await bucket.deleteVbucket(4)
    t.same(parse(await full.next()).vBucketServerMap.vBucketMap[4], [-1])
  },
)

t.test(
  'changes that come at once are told once, and a map that the client has not at all',
  async t => {
    const served = await serve(t)
    const client = await introduced(served, 'default', duplex, json, clustermapChange)
    const { bucket } = served
    await Promise.all([1, 2, 3].map(vbid => bucket.setState(vbid, VbucketState.dead)))
    const { vBucketServerMap } = parse(await client.next())
    t.same(
      [1, 2, 3].map(vbid => vBucketServerMap.vBucketMap[vbid]),
      [[-1], [-1], [-1]],
    )
    t.equal((await client.call({ opcode: Opcode.noop })).opcode, Opcode.noop)
    t.equal(client.waiting, 0)
  },
)

t.test('a client that does not read is told the last of many maps when it does', async t => {
  const served = await serve(t, { settings: { outputBytesMax: 2 ** 26 } })
  const { bucket, server } = served
  const client = await introduced(served, 'default', duplex, json, clustermapChange)
  await client.call({
    opcode: Opcode.set,
    key: 'large',
    value: Buffer.alloc(2 ** 20),
    extras: Buffer.alloc(8),
  })
  client.socket.pause()
  const count = 8
  client.send(...Array.from({ length: count }, () => ({ opcode: Opcode.get, key: 'large' })))
  while (server.budget.totalBytes === 0) await new Promise(resolve => setImmediate(resolve))
  for (let round = 0; round < 5; round++) {
    for (const state of [VbucketState.dead, VbucketState.active]) await bucket.setState(9, state)
  }
  client.socket.resume()
  const frames = await client.take(count)
  t.ok(frames.every(({ opcode }) => opcode === Opcode.get))
  const { rev } = parse(await client.next())
  t.equal(rev, parse(await client.call(getConfig)).rev)
})

t.test('pushes need a connection that takes requests', async t => {
  const { client } = await serve(t)
  const one = await client()
  const hello = (...features: number[]) =>
    one.call({ opcode: Opcode.hello, value: encodeFeatures(features) })
  for (const feature of [clustermapChange, clustermapChangeBrief]) {
    t.equal((await hello(feature, json)).status, Status.invalidArguments)
    t.same(decodeFeatures(await hello(feature, duplex)), [feature, duplex])
  }
  const both = await hello(clustermapChange, clustermapChangeBrief, duplex)
  t.same(decodeFeatures(both), [clustermapChangeBrief, duplex], 'of both ways the brief one')
})

const settingsOf = (advertise: string, external = 'none') => ({
  settings: { advertise: parseEndpoint(advertise)!, advertiseExternal: parseEndpoint(external)! },
})

async function mapOf(t: Test, options: ServedOptions) {
  const served = await serve(t, options)
  const client = await introduced(served, 'default', json)
  return { map: parse(await client.call(getConfig)), port: served.port }
}

t.test('clients are told the address that is advertised', async t => {
  const { map, port } = await mapOf(t, settingsOf('db.example.com,mgmt=31091'))
  t.equal(map.nodesExt[0].hostname, 'db.example.com')
  t.same(map.nodesExt[0].services, { kv: port, mgmt: 31_091 })
  t.same(map.vBucketServerMap.serverList, [`db.example.com:${port}`])
  t.equal(map.nodes[0].hostname, 'db.example.com:31091')
  t.equal(map.nodesExt[0].alternateAddresses, undefined)
})

t.test('clients of another network find themselves among the alternate addresses', async t => {
  const { map, port } = await mapOf(t, settingsOf('$HOST', '2001:db8::1,kv=31210'))
  t.equal(map.nodesExt[0].hostname, undefined, 'the one by which the client came')
  t.same(map.vBucketServerMap.serverList, [`$HOST:${port}`])
  t.same(map.nodesExt[0].alternateAddresses, {
    external: { hostname: '2001:db8::1', ports: { kv: 31_210, mgmt: 8091 } },
  })
  t.same(map.nodesExt[0].services, { kv: port, mgmt: 8091 })
})

t.test('revisions grow over restarts', async t => {
  const nowMs = 1_800_000_000_000
  const first = await mapOf(t, { clock: { ...systemClock, nowMs: () => nowMs } })
  const second = await mapOf(t, { clock: { ...systemClock, nowMs: () => nowMs + 1 } })
  t.ok(second.map.rev > first.map.rev)
})
