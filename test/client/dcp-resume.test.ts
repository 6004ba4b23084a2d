import t from 'tap'
import { seqnoInfinity } from '../../protocol/bytes.ts'
import { StreamEndReason } from '../../protocol/dcp/stream-end.ts'
import { decodeDcpOpen } from '../../protocol/dcp/open.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { isChange, type DcpEvent } from '../../src/client/index.ts'
import { dcpScene, drain, seqnosOf, take, type OnStream } from './dcp-scene.ts'
import { accepted, marker, mutation, mutations, streamEnd, until } from './scripted-server.ts'

t.test('cut off within a snapshot: goes on behind what was received, in that snapshot', async t => {
  const { client, requests, server } = await dcpScene(t, {
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, 10))
      if (peer.number === 0) peer.send(mutations(request, 1, 4))
      else peer.send(mutations(request, request.startSeqno + 1, 10))
    },
  })
  t.same(seqnosOf(await take(client, 4)), [1, 2, 3, 4])
  server.last.reset()
  t.same(seqnosOf(await take(client, 6)), [5, 6, 7, 8, 9, 10])
  t.match(requests[1], {
    startSeqno: 4,
    endSeqno: seqnoInfinity,
    vbuuid: 7n,
    snapshotStartSeqno: 0,
    snapshotEndSeqno: 10,
  })
  const names = server.peers.map(peer => decodeDcpOpen(peer.sent(Opcode.dcpOpen)[0]!)!.name)
  t.same(names, ['test', 'test'])
  t.match(client.statistics(), { reconnects: 1, rollbacks: 0, changes: 10, resumedStreams: 1 })
})

t.test('a marker without anything of its snapshot moves nothing', async t => {
  const { requests, server } = await dcpScene(t, {
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]))
      if (peer.number === 0) peer.send(marker(request, 0, 10))
      if (peer.number === 1) {
        peer.send(marker(request, 0, 5), mutations(request, 1, 5), marker(request, 6, 9))
      }
      if (peer.number < 2) setTimeout(() => peer.reset(), 5)
    },
  })
  await until(() => requests.length === 3)
  t.match(requests[1], { startSeqno: 0, vbuuid: 7n, snapshotStartSeqno: 0, snapshotEndSeqno: 0 })
  t.match(requests[2], { startSeqno: 5, snapshotStartSeqno: 0, snapshotEndSeqno: 5 })
  t.equal(server.peers.length, 3)
})

t.test('what was received but not taken is neither lost nor asked for again', async t => {
  const { client, requests, server } = await dcpScene(t, {
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, 6))
      peer.send(mutations(request, request.startSeqno + 1, peer.number === 0 ? 4 : 6))
    },
  })
  t.same(seqnosOf(await take(client, 2)), [1, 2])
  await until(() => client.statistics().queuedEvents === 2)
  server.last.reset()
  await until(() => requests.length === 2)
  t.equal(requests[1]!.startSeqno, 4)
  t.match(client.state().vbuckets, [{ seqno: 2, snapshotStart: 0, snapshotEnd: 6 }])
  t.same(seqnosOf(await take(client, 4)), [3, 4, 5, 6])
})

t.test('the state, as JSON, is where another client goes on', async t => {
  const onStream: OnStream = (request, frame, peer) =>
    peer.send(
      accepted(frame, [2n ** 64n - 2n, 3], [7n, 0]),
      marker(request, 0, 9),
      mutations(request, request.startSeqno + 1, 9),
    )
  const first = await dcpScene(t, { highSeqnos: { 0: 9, 4: 9 }, onStream })
  await take(first.client, 12)
  const state: unknown = JSON.parse(JSON.stringify(first.client.state()))
  await first.client.close()
  t.same(state, {
    format: 'holdfast-dcp-state',
    version: 1,
    bucket: 'default',
    vbuckets: [
      { vbid: 0, seqno: 9 },
      { vbid: 4, seqno: 3 },
    ].map(({ vbid, seqno }) => ({
      vbid,
      vbuuid: '18446744073709551614',
      failoverLog: [
        { vbuuid: '18446744073709551614', seqno: 3 },
        { vbuuid: '7', seqno: 0 },
      ],
      seqno,
      snapshotStart: 0,
      snapshotEnd: 9,
    })),
  })
  const second = await dcpScene(t, { onStream, client: { state, vbuckets: [4] } })
  t.same(seqnosOf(await take(second.client, 6)), [4, 5, 6, 7, 8, 9])
  t.match(second.requests, [
    {
      vbid: 4,
      startSeqno: 3,
      vbuuid: 2n ** 64n - 2n,
      snapshotStartSeqno: 0,
      snapshotEndSeqno: 9,
    },
  ])
  const kept = second.client.state().vbuckets.map(({ vbid, seqno }) => [vbid, seqno])
  t.same(
    kept,
    [
      [0, 9],
      [4, 9],
    ],
    'what was not streamed is kept',
  )
})

t.test('a history that grew is adopted, and presented next time', async t => {
  const { client, requests, server } = await dcpScene(t, {
    onStream(request, frame, peer) {
      if (peer.number === 0) {
        peer.send(accepted(frame, [7n, 0]), marker(request, 0, 4), mutations(request, 1, 4))
      } else {
        peer.send(accepted(frame, [8n, 4], [7n, 0]))
      }
    },
  })
  await take(client, 4)
  t.match(client.state().vbuckets, [{ vbuuid: '7' }])
  server.last.reset()
  await until(() => client.statistics().resumedStreams === 1)
  t.match(client.state().vbuckets, [{ vbuuid: '8', failoverLog: [{}, { vbuuid: '7' }] }])
  server.last.reset()
  await until(() => requests.length === 3)
  t.match(requests[2], { startSeqno: 4, vbuuid: 8n })
})

for (const [reason, name] of [
  [StreamEndReason.stateChanged, 'stateChanged'],
  [StreamEndReason.disconnected, 'disconnected'],
  [StreamEndReason.slow, 'slow'],
  [StreamEndReason.backfillFailed, 'backfillFailed'],
  [StreamEndReason.closed, 'closed'],
  [StreamEndReason.rollback, 'rollback'],
  [StreamEndReason.ok, 'ok'],
  [99, 'reason 99'],
] as const)
  t.test(`a stream ended with ${name} is opened again where it was`, async t => {
    const { client, requests } = await dcpScene(t, {
      onStream(request, frame, peer) {
        const { startSeqno } = request
        peer.send(accepted(frame, [7n, 0]), marker(request, 0, 4))
        peer.send(mutations(request, startSeqno + 1, startSeqno + 2))
        if (startSeqno === 0) peer.send(streamEnd(request, reason))
      },
    })
    const events: DcpEvent[] = []
    for await (const event of client.events()) {
      events.push(event)
      if (isChange(event) && event.seqno === 4) break
    }
    t.same(
      events.flatMap(event => (isChange(event) ? [event.seqno] : [])),
      [1, 2, 3, 4],
    )
    t.match(
      events.find(event => event.type === 'stream-end'),
      { vbid: 0, reason: name, reopens: true },
    )
    t.match(requests[1], { startSeqno: 2, snapshotEndSeqno: 4 })
    t.equal(client.statistics().reconnects, 0)
  })

t.test('an empty filter is an end; lost privileges are an error', async t => {
  const ended = (reason: number): OnStream => {
    return (request, frame, peer) => peer.send(accepted(frame, [7n, 0]), streamEnd(request, reason))
  }
  const filtered = await dcpScene(t, { onStream: ended(StreamEndReason.filterEmpty) })
  t.same(await drain(filtered.client), [])
  const barred = await dcpScene(t, { onStream: ended(StreamEndReason.lostPrivileges) })
  await t.rejects(drain(barred.client), { message: /accessDenied/ })
})

t.test('a refusal that may pass is asked again, one that will not is the end', async t => {
  for (const status of [Status.temporaryFailure, Status.busy, Status.outOfMemory]) {
    const { client, requests } = await dcpScene(t, {
      onStream(request, frame, peer) {
        if (requests.length < 3) peer.reply(frame, { status })
        else peer.send(accepted(frame, [7n, 0]), marker(request, 0, 1), mutation(request, 1))
      },
    })
    t.same(seqnosOf(await take(client, 1)), [1])
    await client.close()
  }
  const { client } = await dcpScene(t, {
    onStream: (_request, frame, peer) => peer.reply(frame, { status: Status.outOfRange }),
  })
  await t.rejects(take(client, 1), { message: /outOfRange/ })
})

t.test('a vbucket that was here may come back', async t => {
  const { client, requests } = await dcpScene(t, {
    onStream(request, frame, peer) {
      if (requests.length === 1) {
        peer.send(accepted(frame, [7n, 0]), streamEnd(request, StreamEndReason.stateChanged))
      } else if (requests.length === 2) {
        peer.reply(frame, { status: Status.notMyVbucket })
      } else {
        peer.send(accepted(frame, [7n, 0]), marker(request, 0, 1), mutation(request, 1))
      }
    },
  })
  t.same(seqnosOf(await take(client, 1)), [1])
})

t.test('a bounded stream cut off within its last snapshot still gets all of it', async t => {
  const { client, requests, server } = await dcpScene(t, {
    highSeqnos: { 0: 5 },
    client: { until: 'now' },
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, 9))
      if (peer.number === 0) peer.send(mutations(request, 1, 7))
      else peer.send(mutations(request, 8, 9), streamEnd(request, StreamEndReason.ok))
    },
  })
  await take(client, 7)
  server.last.reset()
  t.same(seqnosOf(await drain(client)), [8, 9])
  t.match(requests[1], { startSeqno: 7, endSeqno: 9 })
})

t.test('a stream that is over is not opened again', async t => {
  const { client, requests, server } = await dcpScene(t, {
    highSeqnos: { 0: 1, 1: 2 },
    client: { until: 'now' },
    onStream(request, frame, peer) {
      const { startSeqno, endSeqno, vbid } = request
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, endSeqno))
      if (vbid === 0 || startSeqno > 0)
        peer.send(mutation(request, endSeqno), streamEnd(request, StreamEndReason.ok))
      else peer.send(mutation(request, 1))
    },
  })
  t.equal((await take(client, 2)).length, 2)
  server.last.reset()
  t.same(seqnosOf(await drain(client)), [2])
  t.same(
    requests.map(request => request.vbid),
    [0, 1, 1],
  )
})

t.test('the purge seqno of a marker is presented, if markers tell it', async t => {
  const { client, requests, server } = await dcpScene(t, {
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]))
      peer.send(marker(request, 0, 4, { version: '2.2', purgeSeqno: 3 }), mutation(request, 4))
      peer.send(marker(request, 5, 6, { version: '2.2' }), mutation(request, 5))
    },
  })
  await take(client, 2)
  t.match(client.state().vbuckets, [{ seqno: 5, purgeSeqno: 3 }])
  server.last.reset()
  await until(() => requests.length === 2)
  t.same(JSON.parse(requests[1]!.value), { purge_seqno: '3' })
})

t.test('saved states are checked, field by field', async t => {
  const good = {
    vbid: 0,
    vbuuid: '7',
    failoverLog: [{ vbuuid: '7', seqno: 0 }],
    seqno: 5,
    snapshotStart: 1,
    snapshotEnd: 9,
  }
  const root = { format: 'holdfast-dcp-state', version: 1, bucket: 'default', vbuckets: [good] }
  const entry = (change: object) => ({ ...root, vbuckets: [{ ...good, ...change }] })
  for (const [state, message] of [
    ['text', /the state is no object/],
    [null, /no object/],
    [{}, /no holdfast-dcp-state/],
    [{ ...root, version: 2 }, /version 2 is unknown/],
    [{ ...root, bucket: 'travel' }, /belongs to bucket "travel", not "default"/],
    [{ ...root, vbuckets: {} }, /vbuckets is no list/],
    [{ ...root, vbuckets: [7] }, /vbuckets\[0\] is no object/],
    [{ ...root, vbuckets: [good, good] }, /vbucket 0 is there twice/],
    [entry({ vbid: 70000 }), /vbid is no vbucket/],
    [entry({ vbid: '0' }), /vbid is no whole number/],
    [entry({ seqno: -1 }), /seqno is no whole number/],
    [entry({ seqno: 2 ** 60 }), /seqno is no whole number/],
    [entry({ seqno: 10 }), /not within its snapshot/],
    [entry({ snapshotStart: 6 }), /not within its snapshot/],
    [entry({ vbuuid: 7 }), /vbuuid is no decimal 64-bit number/],
    [entry({ vbuuid: '18446744073709551616' }), /vbuuid is no decimal/],
    [entry({ failoverLog: [{ vbuuid: 'x', seqno: 0 }] }), /failoverLog\[0\].vbuuid/],
    [entry({ purgeSeqno: 1.5 }), /purgeSeqno is no whole number/],
  ] as const) {
    const attempt = dcpScene(t, { onStream: () => {}, client: { state } })
    await t.rejects(attempt, { code: 'HOLDFAST_STATE', message })
  }
})
