import t from 'tap'
import { StreamEndReason } from '../../protocol/dcp/stream-end.ts'
import type { ArrivedChange, DcpEvent, SavedPosition } from '../../src/client/index.ts'
import { dcpScene, type OnStream } from './dcp-scene.ts'
import {
  accepted,
  deletion,
  marker,
  mutation,
  mutations,
  streamEnd,
  until,
} from './scripted-server.ts'

const ended: OnStream = (request, frame, peer) =>
  peer.send(
    accepted(frame, [7n, 0]),
    marker(request, 0, 4),
    mutations(request, 1, 4),
    marker(request, 5, 6),
    deletion(request, 5, 'gone', 1234),
    mutation(request, 6),
    streamEnd(request, StreamEndReason.ok),
  )

t.test('changes are taken as they arrive, the iteration has everything else', async t => {
  const taken: unknown[] = []
  const starts: SavedPosition[] = []
  const takeChange = (change: ArrivedChange) => {
    const { seqno, type, vbid, deleteTime, frame, keyStart, keyLength } = change
    const key = frame.bytes.toString('latin1', keyStart, keyStart + keyLength)
    taken.push([vbid, seqno, type, key, deleteTime])
    if (change.isFirst) starts.push(change.position())
    return undefined
  }
  const { client } = await dcpScene(t, {
    highSeqnos: { 0: 6 },
    onStream: ended,
    client: { until: 'now', takeChange },
  })
  const events: DcpEvent[] = []
  for await (const event of client.events()) events.push(event)
  t.same(
    events.map(({ type }) => type),
    ['snapshot-marker', 'snapshot-marker', 'stream-end'],
  )
  t.match(taken, [
    [0, 1, 'mutation'],
    [0, 2, 'mutation'],
    [0, 3, 'mutation'],
    [0, 4, 'mutation'],
    [0, 5, 'deletion', 'gone', 1234],
    [0, 6, 'mutation'],
  ])
  t.same(
    starts.map(({ seqno, snapshotStart, snapshotEnd }) => [seqno, snapshotStart, snapshotEnd]),
    [
      [1, 0, 4],
      [5, 5, 6],
    ],
  )
  t.match(client.position(0), { vbuuid: '7', seqno: 6, snapshotStart: 5, snapshotEnd: 6 })
  t.equal(client.statistics().changes, 6)
})

t.test('while there is something to wait for, nothing more is read', async t => {
  let go = () => {}
  let count = 0
  const takeChange = () => {
    if (++count > 1) return undefined
    return new Promise<void>(resolve => (go = resolve))
  }
  const { client, server, requests } = await dcpScene(t, {
    onStream: (request, frame, peer) =>
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, 10), mutations(request, 1, 5)),
    client: { takeChange },
  })
  await until(() => count === 5)
  // What is taken at once has been told to the server, so a reader would take this, too.
  server.last.send(mutations(requests[0]!, 6, 10))
  const events = client.events()
  t.match(await events.next(), { value: { type: 'snapshot-marker' } })
  const next = events.next()
  await new Promise(resolve => setImmediate(resolve))
  t.equal(count, 5)
  go()
  await until(() => count === 10)
  await client.close()
  t.match(await next, { done: true })
})

t.test('who cannot take a change, now or later, ends the client', async t => {
  const full = new Error('there is no room')
  const refusals = [
    () => {
      throw full
    },
    () => Promise.reject(full),
  ]
  for (const takeChange of refusals) {
    const { client } = await dcpScene(t, { onStream: ended, client: { takeChange } })
    const all = async () => {
      for await (const event of client.events()) t.not(event.type, 'mutation')
    }
    await t.rejects(all(), full)
  }
})
