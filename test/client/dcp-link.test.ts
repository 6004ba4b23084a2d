import t from 'tap'
import { decodeBufferAcknowledgement } from '../../protocol/dcp/buffer-acknowledgement.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeRequest } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import { DcpClient, isChange, type DcpEvent } from '../../src/client/index.ts'
import { dcpScene, seqnosOf, take, type OnStream } from './dcp-scene.ts'
import {
  accepted,
  marker,
  mutation,
  mutations,
  ScriptedServer,
  until,
  type Peer,
} from './scripted-server.ts'

const idle: OnStream = (_request, frame, peer) => peer.send(accepted(frame, [7n, 0]))

const acknowledged = (peer: Peer) =>
  peer
    .sent(Opcode.dcpBufferAcknowledgement)
    .reduce((sum, frame) => sum + decodeBufferAcknowledgement(frame)!.bytes, 0)

t.test('flow control: every byte but no-ops is acknowledged, once it is consumed', async t => {
  let sentBytes = 0
  const { client, server } = await dcpScene(t, {
    client: { bufferBytes: 10_000 },
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]))
      peer.send(encodeRequest({ opcode: Opcode.dcpNoop, opaque: 5 }))
      const stream = [marker(request, 0, 40), mutations(request, 1, 40)]
      // Of no concern to us, and of a stream that is over: they fill the window all the same.
      const unknown = encodeRequest({ ...request, opcode: Opcode.dcpOsoSnapshot, value: 'x' })
      const stale = mutation({ ...request, opaque: 12345 }, 1)
      const bytes = Buffer.concat([...stream, unknown, stale])
      sentBytes = bytes.length
      peer.send(bytes)
    },
  })
  await until(() => client.statistics().queuedEvents === 41)
  t.equal(acknowledged(server.last), 0, 'nothing before it is consumed')
  await take(client, 40)
  const partly = acknowledged(server.last)
  t.ok(partly < sentBytes, 'the one in hand is not')
  const rest = take(client, 1)
  await until(() => acknowledged(server.last) === sentBytes)
  t.equal(client.statistics().unacknowledgedBytes, 0)
  t.ok(server.last.sent(Opcode.dcpBufferAcknowledgement).length > 1, 'in parts')
  await client.close()
  t.same(await rest, [])
})

t.test('flow control: manual acknowledgement', async t => {
  const { client, server } = await dcpScene(t, {
    client: { acknowledgement: 'manual' },
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, 9), mutations(request, 1, 9))
    },
  })
  await take(client, 9)
  const unacknowledged = client.statistics().unacknowledgedBytes
  t.ok(unacknowledged > 9 * 55)
  t.equal(acknowledged(server.last), 0)
  client.acknowledge()
  client.acknowledge()
  await until(() => acknowledged(server.last) === unacknowledged)
  t.equal(server.last.sent(Opcode.dcpBufferAcknowledgement).length, 1)
})

t.test('flow control: what another connection brought is not acknowledged on this one', async t => {
  const { client, server } = await dcpScene(t, {
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, 9))
      if (peer.number === 0) peer.send(mutations(request, 1, 9))
    },
  })
  await until(() => client.statistics().queuedEvents === 10)
  server.last.reset()
  await until(() => client.statistics().queuedEvents === 11)
  const markerLength = 44
  const rest = take(client, 10)
  await until(() => acknowledged(server.last) === markerLength)
  t.equal(acknowledged(server.peers[0]!), 0)
  await client.close()
  t.equal((await rest).length, 9)
})

t.test('back-pressure: without flow control, a slow consumer stops the socket', async t => {
  const value = Buffer.alloc(100_000)
  const count = 200
  const { client, server } = await dcpScene(t, {
    client: { bufferBytes: 0, queueBytesMax: 1_000_000 },
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, count))
      for (let seqno = 1; seqno <= count; seqno++)
        peer.send(mutation(request, seqno, `key-${seqno}`, value))
    },
  })
  await until(() => client.statistics().queuedBytes > 1_000_000)
  await new Promise(resolve => setTimeout(resolve, 50))
  const { queuedBytes } = client.statistics()
  t.ok(queuedBytes < 1_500_000, `${queuedBytes} bytes wait`)
  t.ok(server.last.socket.writableLength > 5_000_000, 'the rest waits at the server')
  t.equal((await take(client, count)).length, count)
  t.equal(server.last.sent(Opcode.dcpBufferAcknowledgement).length, 0)
  t.equal(client.statistics().reconnects, 0)
})

t.test('no-ops are answered at once, consumer or not', async t => {
  const { server } = await dcpScene(t, { onStream: idle })
  server.last.send(encodeRequest({ opcode: Opcode.dcpNoop, opaque: 0xdeadbeef }))
  await until(() => server.last.sent(Opcode.dcpNoop).length === 1)
  t.match(server.last.sent(Opcode.dcpNoop)[0], { magic: 0x81, opaque: 0xdeadbeef, bodyLength: 0 })
})

t.test('a peer that falls silent is asked, then given up', async t => {
  let silent = false
  const { client, server } = await dcpScene(t, {
    client: { noopIntervalSeconds: 0.05 },
    onStream: idle,
    script: (_frame, peer) => silent && peer.number === 0,
  })
  await until(() => server.last.sent(Opcode.noop).length >= 2)
  t.equal(server.peers.length, 1, 'as long as it answers, the connection stays')
  silent = true
  const askedBefore = server.last.sent(Opcode.noop).length
  await until(() => server.peers.length === 2)
  t.ok(server.peers[0]!.sent(Opcode.noop).length > askedBefore)
  await until(() => client.statistics().connected)
  t.equal(client.statistics().reconnects, 1)
})

t.test('a socket that we do not read ourselves is not called silent', async t => {
  const value = Buffer.alloc(100_000)
  const { client, server } = await dcpScene(t, {
    client: { bufferBytes: 0, queueBytesMax: 150_000, noopIntervalSeconds: 0.06 },
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, 20))
      for (let seqno = 1; seqno <= 20; seqno++) peer.send(mutation(request, seqno, 'key', value))
    },
  })
  await until(() => client.statistics().queuedBytes > 150_000)
  await new Promise(resolve => setTimeout(resolve, 250))
  t.equal(server.peers.length, 1)
  t.equal((await take(client, 20)).length, 20)
})

for (const [what, messages] of [
  ['a seqno that does not grow', [2, 2]],
  ['a seqno before its snapshot', [0]],
  ['a seqno behind its snapshot', [6]],
] as const)
  t.test(`${what} is the end: who knows what else is wrong`, async t => {
    const { client, server } = await dcpScene(t, {
      onStream(request, frame, peer) {
        peer.send(accepted(frame, [7n, 0]), marker(request, 1, 5))
        peer.send(...messages.map(seqno => mutation(request, seqno)))
      },
    })
    const taking = take(client, 3)
    await t.rejects(taking, { code: 'HOLDFAST_PROTOCOL', message: /dcpMutation: vbucket 0: seqno/ })
    await until(() => server.last.socket.destroyed)
    t.equal(server.peers.length, 1)
  })

t.test('malformed messages are the end, too', async t => {
  for (const [opcode, extrasLength] of [
    [Opcode.dcpMutation, 30],
    [Opcode.dcpDeletion, 20],
    [Opcode.dcpExpiration, 21],
    [Opcode.dcpSnapshotMarker, 5],
    [Opcode.dcpSeqnoAdvanced, 4],
    [Opcode.dcpStreamEnd, 0],
  ] as const) {
    const { client } = await dcpScene(t, {
      onStream(request, frame, peer) {
        const message = { ...request, opcode, extras: Buffer.alloc(extrasLength), value: '' }
        peer.send(accepted(frame, [7n, 0]), encodeRequest({ ...message, key: 'k' }))
      },
    })
    await t.rejects(take(client, 1), { code: 'HOLDFAST_PROTOCOL', message: /: malformed/ })
  }
})

t.test('garbage on the line is a broken connection, not the end', async t => {
  const { client, server } = await dcpScene(t, {
    onStream(request, frame, peer) {
      const { startSeqno } = request
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, 9))
      peer.send(mutations(request, startSeqno + 1, startSeqno + 3))
      if (peer.number === 0) peer.send(Buffer.from('garbage, garbage, garbage, garbage'))
      // A frame cut in the middle, then the end.
      if (peer.number === 1) {
        peer.send(mutation(request, startSeqno + 4).subarray(0, 60))
        peer.socket.end()
      }
    },
  })
  t.same(seqnosOf(await take(client, 9)), [1, 2, 3, 4, 5, 6, 7, 8, 9])
  t.equal(server.peers.length, 3)
})

t.test('an answer that makes no sense is a broken connection', async t => {
  const { client, requests } = await dcpScene(t, {
    onStream(request, frame, peer) {
      if (requests.length === 1) peer.reply(frame, { value: 'half a log' })
      else peer.send(accepted(frame, [7n, 0]), marker(request, 0, 1), mutation(request, 1))
    },
  })
  t.same(seqnosOf(await take(client, 1)), [1])
  t.equal(client.statistics().reconnects, 1)
})

t.test('comes back when the server does, however long that takes', async t => {
  const { client, server } = await dcpScene(t, {
    onStream(request, frame, peer) {
      const { startSeqno } = request
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, 9))
      peer.send(mutation(request, startSeqno + 1))
    },
    // Connections 1 to 4 are cut before anything is answered.
    script: (_frame, peer) => {
      if (peer.number === 0 || peer.number > 4) return false
      peer.reset()
      return true
    },
  })
  await take(client, 1)
  server.last.reset()
  t.same(seqnosOf(await take(client, 1)), [2])
  t.equal(server.peers.length, 6)
  t.match(client.statistics(), { reconnects: 1, connected: true })
})

t.test('gives up if told to, with the last error', async t => {
  const { client, server } = await dcpScene(t, {
    client: { reconnect: { firstMs: 1, maxMs: 2, attemptsMax: 3 } },
    onStream: idle,
    script: (_frame, peer) => {
      if (peer.number === 0) return false
      peer.reset()
      return true
    },
  })
  const taking = take(client, 1)
  server.last.reset()
  await t.rejects(taking, { code: 'HOLDFAST_CONNECTION_LOST' })
  t.equal(server.peers.length, 4)
  const once = await dcpScene(t, { client: { reconnect: false }, onStream: idle })
  const waiting = take(once.client, 1)
  once.server.last.reset()
  await t.rejects(waiting, { code: 'HOLDFAST_CONNECTION_LOST' })
  t.equal(once.server.peers.length, 1)
})

t.test('a bucket that is gone is not asked for again', async t => {
  const { client, server } = await dcpScene(t, {
    onStream: idle,
    script: (frame, peer) => {
      if (peer.number === 0 || frame.opcode !== Opcode.selectBucket) return false
      peer.reply(frame, { status: Status.keyNotFound })
      return true
    },
  })
  const taking = take(client, 1)
  server.last.reset()
  await t.rejects(taking, { message: 'selectBucket: keyNotFound' })
  t.equal(server.peers.length, 2)
})

t.test('what was received before an error is delivered before it', async t => {
  const { client, server } = await dcpScene(t, {
    client: { reconnect: false },
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, 9), mutations(request, 1, 3))
    },
  })
  await until(() => client.statistics().queuedEvents === 4)
  server.last.reset()
  await until(() => !client.statistics().connected)
  const events: DcpEvent[] = []
  const reading = (async () => {
    for await (const event of client.events()) events.push(event)
  })()
  await t.rejects(reading, { code: 'HOLDFAST_CONNECTION_LOST' })
  t.same(
    events.flatMap(event => (isChange(event) ? [event.seqno] : [])),
    [1, 2, 3],
  )
})

t.test('closing while it waits to connect again does not wait', async t => {
  const { client, server } = await dcpScene(t, {
    client: { reconnect: { firstMs: 60_000, maxMs: 60_000 } },
    onStream: idle,
  })
  const taking = take(client, 1)
  server.last.reset()
  await until(() => !client.statistics().connected)
  await client.close()
  t.same(await taking, [])
})

t.test('a stranger behind the port is an error at once', async t => {
  const server = await ScriptedServer.start(t, (_frame, peer) => {
    peer.send(Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'))
    return true
  })
  await t.rejects(DcpClient.connect({ port: server.port, name: 'x' }), {
    code: 'HOLDFAST_PROTOCOL',
    message: 'the server sent no frame: bad-magic',
  })
})
