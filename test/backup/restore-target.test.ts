import t from 'tap'
import { readNodeMap } from '../../src/backup/restore/node-map.ts'
import { RestoreTarget } from '../../src/backup/restore/restore-target.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { ScriptedServer } from '../client/scripted-server.ts'

const address = { host: 'seed', port: 11210, bucket: 'b' }
const serverMap = (serverList: string[], vBucketMap: number[][]) => ({
  rev: 7,
  vBucketServerMap: { serverList, vBucketMap },
})

t.test('one node is the one that was asked, whatever it calls itself', async t => {
  const map = readNodeMap(serverMap(['10.1.1.1:999'], [[0], [0]]), address)
  t.same(map, { revision: 7, nodes: [{ host: 'seed', port: 11210 }], nodeOf: [0, 0] })
})

t.test('several are where they say', async t => {
  const servers = ['$HOST:1', 'other:2', '[::1]:3']
  const { nodes, nodeOf } = readNodeMap(serverMap(servers, [[2, 0], [1, 2], [0]]), address)
  t.same(nodeOf, [2, 1, 0])
  t.same(nodes, [
    { host: 'seed', port: 1 },
    { host: 'other', port: 2 },
    { host: '::1', port: 3 },
  ])
})

t.test('with TLS they are at their other ports', async t => {
  const config = {
    ...serverMap(['$HOST:1', 'other:1'], [[0], [1]]),
    nodesExt: [
      { hostname: '$HOST', services: { kv: 1, kvSSL: 11 } },
      { hostname: 'other', services: { kv: 1, kvSSL: 12 } },
    ],
  }
  const { nodes } = readNodeMap(config, { ...address, tls: true })
  t.same(nodes, [
    { host: 'seed', port: 11 },
    { host: 'other', port: 12 },
  ])
  t.throws(() => readNodeMap({ ...config, nodesExt: [] }, { ...address, tls: true }), {
    message: /no port for TLS/,
  })
})

t.test('a bucket that lacks vbuckets is refused, and they are named', async t => {
  const holes = Array.from({ length: 9 }, (_, vbid) => [vbid % 9 === 1 ? 0 : -1])
  t.throws(() => readNodeMap(serverMap(['a:1', 'b:1'], holes), address), {
    code: 'refused',
    message: 'no node serves vbuckets 0, 2, 3, 4, 5 and 3 more of bucket b',
  })
  t.throws(() => readNodeMap({}, address), { message: 'bucket b has no vbuckets' })
})

t.test('there may be no such bucket, or none for this user', async t => {
  for (const [status, message] of [
    [Status.keyNotFound, /^there is no bucket b at 127\.0\.0\.1:\d+$/],
    [Status.accessDenied, /or this user may not use it$/],
  ] as const) {
    const server = await ScriptedServer.start(t, (frame, peer) => {
      if (frame.opcode !== Opcode.selectBucket) return false
      peer.reply(frame, { status })
      return true
    })
    const opening = RestoreTarget.open({ ...address, host: '127.0.0.1', port: server.port })
    await t.rejects(opening, { code: 'refused', message })
  }
})

t.test('where conflicts are resolved by time, writers say that they know', async t => {
  const server = await ScriptedServer.start(t, (frame, peer) => {
    if (frame.opcode === Opcode.getClusterConfig)
      peer.reply(frame, { value: JSON.stringify(serverMap(['$HOST:1'], [[0]])) })
    else if (frame.opcode === Opcode.stat) {
      peer.reply(frame, { key: 'ep_conflict_resolution_type', value: 'lww' })
      peer.reply(frame)
    } else return false
    return true
  })
  const target = await RestoreTarget.open({ ...address, host: '127.0.0.1', port: server.port })
  t.equal(target.resolvesByTime, true)
  target.close()
})
