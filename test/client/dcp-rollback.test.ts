import t from 'tap'
import { Opcode } from '../../protocol/opcode.ts'
import { dcpScene, seqnosOf, take, type OnStream } from './dcp-scene.ts'
import { accepted, marker, mutation, mutations, rolledBackTo, until } from './scripted-server.ts'

/** 1 to 9 under uuid 6, then a server with another history: back to 5. */
const forked: OnStream = (request, frame, peer) => {
  if (peer.number === 0) {
    peer.send(accepted(frame, [6n, 0]), marker(request, 0, 9), mutations(request, 1, 9))
  } else if (request.vbuuid === 6n) {
    peer.send(rolledBackTo(frame, 5))
  } else {
    const { startSeqno } = request
    peer.send(accepted(frame, [9n, 6], [8n, 3], [7n, 0]), marker(request, startSeqno, 7))
    peer.send(mutations(request, startSeqno + 1, 7))
  }
}
const failoverLog: [bigint, number][] = [
  [9n, 6],
  [8n, 3],
  [7n, 0],
]

t.test('rollback: the consumer goes back, and the stream with it', async t => {
  const asked: [number, number][] = []
  const { client, requests, server } = await dcpScene(t, {
    failoverLog,
    client: {
      onRollback(vbid, seqno) {
        asked.push([vbid, seqno])
        return Promise.resolve('accept')
      },
    },
    onStream: forked,
  })
  await take(client, 9)
  t.match(client.state().vbuckets, [{ seqno: 9, vbuuid: '6' }])
  server.last.reset()
  t.same(seqnosOf(await take(client, 2)), [6, 7])
  t.same(asked, [[0, 5]])
  t.match(requests.at(-1), {
    startSeqno: 5,
    // The newest branch that had begun by then.
    vbuuid: 8n,
    snapshotStartSeqno: 5,
    snapshotEndSeqno: 5,
  })
  t.match(client.state().vbuckets, [{ seqno: 7, vbuuid: '9', snapshotStart: 5, snapshotEnd: 7 }])
  t.match(client.statistics(), { rollbacks: 1, changes: 11 })
})

t.test('rollback: never between a change and its end', async t => {
  let busy = false
  let asked = 0
  const { client, server } = await dcpScene(t, {
    failoverLog,
    client: {
      onRollback() {
        t.notOk(busy)
        asked++
        return 'accept'
      },
    },
    onStream: forked,
  })
  for await (const { seqno } of client) {
    busy = true
    if (seqno === 9 && asked === 0) {
      server.last.reset()
      await until(() => client.statistics().rollbacks === 1)
      await until(() => server.last.sent(Opcode.dcpGetFailoverLog).length === 1)
      t.equal(asked, 0)
    }
    busy = false
    if (seqno === 7 && asked > 0) break
  }
  t.equal(asked, 1)
})

t.test('rollback: a consumer that can only go back further may', async t => {
  const { client, requests, server } = await dcpScene(t, {
    failoverLog,
    client: { onRollback: () => 0 },
    onStream: forked,
  })
  await take(client, 9)
  server.last.reset()
  t.same(seqnosOf(await take(client, 7)), [1, 2, 3, 4, 5, 6, 7])
  t.match(requests.at(-1), { startSeqno: 0, vbuuid: 0n, snapshotEndSeqno: 0 })
})

t.test('rollback: without anyone to follow it, that is the end', async t => {
  const { client, server } = await dcpScene(t, { onStream: forked })
  await take(client, 9)
  server.last.reset()
  await t.rejects(take(client, 1), {
    code: 'HOLDFAST_ROLLBACK',
    message: 'vbucket 0 has to go back from 9 to 5',
  })
  t.match(client.state().vbuckets, [{ seqno: 9 }], 'the state is what it was')
})

t.test('rollback: an error of the callback ends the iteration', async t => {
  const { client, server } = await dcpScene(t, {
    client: { onRollback: () => Promise.reject(new Error('disk on fire')) },
    onStream: forked,
  })
  await take(client, 9)
  server.last.reset()
  await t.rejects(take(client, 1), { message: 'disk on fire' })
})

t.test('rollback of what was not taken yet does not concern the consumer', async t => {
  const { client, requests, server } = await dcpScene(t, {
    failoverLog: [[8n, 0]],
    onStream(request, frame, peer) {
      const { startSeqno } = request
      if (peer.number === 0) {
        peer.send(accepted(frame, [7n, 0]), marker(request, 0, 3), mutations(request, 1, 3))
        peer.send(marker(request, 4, 9), mutations(request, 4, 9))
      } else if (startSeqno === 9) {
        peer.send(rolledBackTo(frame, 5))
      } else {
        peer.send(accepted(frame, [8n, 3], [7n, 0]))
        peer.send(marker(request, startSeqno, 5), mutations(request, startSeqno + 1, 5))
      }
    },
  })
  await take(client, 3)
  await until(() => client.statistics().queuedEvents === 7)
  server.last.reset()
  await until(() => client.statistics().rollbacks === 1)
  // Not from 5: what was received up to there may lack keys that changed between 5 and 9.
  t.same(seqnosOf(await take(client, 2)), [4, 5])
  t.match(requests.at(-1), { startSeqno: 3, vbuuid: 7n, snapshotEndSeqno: 3 })
  t.match(client.statistics(), { rollbacks: 1, changes: 5 })
})

t.test('rollback to where the consumer is: only the history changes', async t => {
  const { client, requests } = await dcpScene(t, {
    client: {
      state: {
        format: 'holdfast-dcp-state',
        version: 1,
        bucket: 'default',
        vbuckets: [
          { vbid: 0, vbuuid: '5', failoverLog: [], seqno: 0, snapshotStart: 0, snapshotEnd: 0 },
        ],
      },
    },
    onStream(request, frame, peer) {
      if (request.vbuuid !== 0n) peer.send(rolledBackTo(frame, 0))
      else peer.send(accepted(frame, [7n, 0]), marker(request, 0, 1), mutation(request, 1))
    },
  })
  t.same(seqnosOf(await take(client, 1)), [1])
  t.equal(requests.length, 2)
})

t.test('a server that rolls back without end is asked less and less', async t => {
  const { client, requests } = await dcpScene(t, {
    onStream: (_request, frame, peer) => peer.send(rolledBackTo(frame, 0)),
  })
  const taking = take(client, 1)
  await until(() => requests.length === 4)
  const start = performance.now()
  await until(() => requests.length === 6)
  t.ok(performance.now() - start >= 70, 'two pauses, of 25 and 50 ms at least')
  await client.close()
  t.same(await taking, [])
})
