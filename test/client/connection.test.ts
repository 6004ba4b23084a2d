import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import t from 'tap'
import type { Frame } from '../../protocol/frame.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeRequest, encodeResponse } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import type { Clock } from '../../src/clock.ts'
import { clientClock } from '../../src/client/client-clock.ts'
import { Connection, type ConnectionOptions } from '../../src/client/connection.ts'
import type { ClientError, ServerError } from '../../src/client/errors.ts'
import { expectSuccess, handshake } from '../../src/client/handshake.ts'
import { answer, ScriptedServer, until, type Script } from './scripted-server.ts'

type Test = Parameters<typeof ScriptedServer.start>[0]

async function open(t: Test, script?: Script, options: ConnectionOptions = {}) {
  const server = await ScriptedServer.start(t, script)
  const closings: (ClientError | undefined)[] = []
  const connection = await Connection.open(
    { port: server.port, ...options },
    { onClose: error => closings.push(error) },
  )
  t.teardown(() => connection.destroy())
  return { server, connection, closings }
}

const echo: Script = (frame, peer) => {
  if (frame.opcode !== Opcode.get) return false
  peer.reply(frame, { value: frame.key(), cas: 5n })
  return true
}

const valueOf = (connection: Connection, key: string) =>
  connection.send({ opcode: Opcode.get, key }, frame => frame.value().toString())

t.test('requests are pipelined, and each gets its own answer', async t => {
  const { connection, server } = await open(t, echo)
  const keys = Array.from({ length: 1000 }, (_, index) => `key-${index}`)
  const values = await Promise.all(keys.map(key => valueOf(connection, key)))
  t.same(values, keys)
  t.equal(server.last.received.length, 1000)
  t.equal(connection.pendingCount, 0)
})

t.test('what is read lies in the memory that its owner gave', async t => {
  const memory = Buffer.alloc(64 * 1024)
  const readInto = memory.subarray(1000, 9000)
  const { connection } = await open(t, echo, { readInto })
  const lies = await connection.send({ opcode: Opcode.get, key: 'key' }, frame => {
    const at = frame.bytes.byteOffset - memory.byteOffset
    return { isInIt: frame.bytes.buffer === memory.buffer, at, value: frame.value().toString() }
  })
  t.same(lies, { isInIt: true, at: 1000, value: 'key' })
  t.equal(
    memory.findIndex(byte => byte !== 0),
    1000,
  )
  t.ok(memory.subarray(9000).every(byte => byte === 0))
})

t.test('a batch of requests gets its answers in their order, among others', async t => {
  const { connection } = await open(t, echo)
  const seen: string[] = []
  const batch = (keys: readonly string[]) =>
    connection.sendBatch(
      Buffer.concat(keys.map(key => encodeRequest({ opcode: Opcode.get, key, value: 'ignored' }))),
      frame => seen.push(frame.value().toString()),
    )
  const keys = Array.from({ length: 300 }, (_, index) => `key-${index}`)
  const [, single] = await Promise.all([
    batch(keys),
    valueOf(connection, 'single'),
    batch(['last']),
    batch([]),
  ])
  t.same(seen, [...keys, 'last'])
  t.equal(single, 'single')
  connection.destroy()
  await t.rejects(batch(['late']), { code: 'HOLDFAST_CLOSED' })
})

t.test('a batch that loses its connection has seen the answers that came', async t => {
  const { connection } = await open(t, (frame, peer) => {
    if (frame.key().toString() === 'key-2') peer.reset()
    else peer.reply(frame)
  })
  let seen = 0
  const requests = [0, 1].map(index => encodeRequest({ opcode: Opcode.get, key: `key-${index}` }))
  await connection.sendBatch(Buffer.concat(requests), () => seen++)
  const lost = [2, 3].map(index => encodeRequest({ opcode: Opcode.get, key: `key-${index}` }))
  const sending = connection.sendBatch(Buffer.concat(lost), () => seen++)
  await t.rejects(sending, { code: 'HOLDFAST_CONNECTION_LOST' })
  t.equal(seen, 2)
})

t.test('an answer cut at every byte is still one answer', async t => {
  const { connection } = await open(t, (frame, peer) => {
    const bytes = answer(frame, { value: 'some value', extras: Buffer.alloc(4), cas: 9n })
    const send = (at: number) => {
      if (at === bytes.length) return
      peer.send(bytes.subarray(at, at + 1))
      setImmediate(() => send(at + 1))
    }
    send(0)
  })
  const frame = await connection.request({ opcode: Opcode.get, key: 'k' })
  t.equal(frame.value().toString(), 'some value')
  t.equal(frame.cas, 9n)
})

t.test('a large value goes out and comes back whole', async t => {
  const value = Buffer.alloc(5_000_000, 'x')
  const { connection } = await open(t, (frame, peer) => {
    peer.reply(frame, { value: frame.value() })
  })
  const frame = await connection.request({ opcode: Opcode.set, key: 'k', value })
  t.ok(frame.value().equals(value))
})

t.test('several responses to one request arrive in order', async t => {
  const { connection } = await open(t, (frame, peer) => {
    for (const key of ['a', 'b', '']) peer.reply(frame, { key, value: key })
  })
  const keys: string[] = []
  await connection.sendForMany({ opcode: Opcode.stat }, frame => {
    keys.push(frame.key().toString())
    return frame.keyLength > 0
  })
  t.same(keys, ['a', 'b', ''])
})

t.test('a request without an answer times out; its late answer is nobody else’s', async t => {
  let late = () => {}
  const { connection } = await open(t, (frame, peer) => {
    if (frame.key().toString() !== 'slow') return echo(frame, peer)
    const bytes = answer(frame, { value: 'slow' })
    late = () => peer.send(bytes)
    return true
  })
  const slow = connection.send(
    { opcode: Opcode.get, key: 'slow' },
    frame => frame.value().toString(),
    { timeoutMs: 20 },
  )
  await t.rejects(slow, { name: 'ClientError', code: 'HOLDFAST_TIMEOUT' })
  late()
  t.equal(await valueOf(connection, 'next'), 'next')
})

t.test('timeouts of different lengths each come in time', async t => {
  const { connection } = await open(t, () => {})
  const order: number[] = []
  await Promise.all(
    [60, 20, 40].map(timeoutMs =>
      connection.request({ opcode: Opcode.noop }, { timeoutMs }).catch(() => order.push(timeoutMs)),
    ),
  )
  t.same(order, [20, 40, 60])
})

t.test('while its owner does not read, no request times out', async t => {
  const { connection, server } = await open(t, (frame, peer) => {
    if (frame.key().toString() !== 'lost') return echo(frame, peer)
    return true
  })
  const outcomes: string[] = []
  const ask = (key: string) =>
    connection
      .send({ opcode: Opcode.get, key }, frame => frame.value().toString(), { timeoutMs: 300 })
      .catch((error: ClientError) => error.code)
      .then(outcome => outcomes.push(outcome))
  connection.pause()
  const asked = [ask('one'), ask('two'), ask('lost')]
  await until(() => server.last.received.length === 3)
  await new Promise(resolve => setTimeout(resolve, 600))
  t.same(outcomes, [])
  connection.resume()
  await Promise.all(asked)
  t.same(outcomes, ['one', 'two', 'HOLDFAST_TIMEOUT'])
})

t.test('as long as answers come, a request waits for those before it', async t => {
  const { connection } = await open(
    t,
    (frame, peer) => {
      const bytes = answer(frame)
      const asked = peer.received.length
      if (asked <= 6) setTimeout(() => peer.send(bytes), 100 * asked)
    },
    { requestTimeoutMs: 400 },
  )
  const requests = [1, 2, 3, 4, 5, 6].map(() => connection.request({ opcode: Opcode.noop }))
  await Promise.all(requests)
  const late = connection.request({ opcode: Opcode.noop })
  await t.rejects(late, { code: 'HOLDFAST_TIMEOUT', message: 'noop: no answer within 400 ms' })
})

t.test('losing the connection fails all that waits, once', async t => {
  const { connection, server, closings } = await open(t, () => {})
  const requests = [1, 2, 3].map(() => connection.request({ opcode: Opcode.noop }))
  await until(() => server.last?.received.length === 3)
  server.last.reset()
  for (const request of requests) await t.rejects(request, { code: 'HOLDFAST_CONNECTION_LOST' })
  await until(() => closings.length > 0)
  t.match(closings, [{ code: 'HOLDFAST_CONNECTION_LOST' }])
  t.notOk(connection.isOpen)
  await t.rejects(connection.request({ opcode: Opcode.noop }), { code: 'HOLDFAST_CONNECTION_LOST' })
})

t.test('a server that ends the connection in order is a loss too', async t => {
  const { connection, closings } = await open(t, (_frame, peer) => void peer.socket.end())
  await t.rejects(connection.request({ opcode: Opcode.noop }), { code: 'HOLDFAST_CONNECTION_LOST' })
  await until(() => closings.length === 1)
})

for (const [what, script] of [
  ['garbage', (_frame, peer) => peer.send(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))],
  [
    'an answer to nothing',
    (frame, peer) => peer.send(encodeResponse({ opcode: frame.opcode, opaque: 99 })),
  ],
  [
    'the wrong opcode',
    (frame, peer) => peer.send(encodeResponse({ opcode: 1, opaque: frame.opaque })),
  ],
  ['a body beyond the limit', (frame, peer) => peer.reply(frame, { value: 'x'.repeat(2000) })],
  [
    'lengths that cannot be',
    (frame, peer) => {
      const bytes = answer(frame)
      bytes.writeUInt16BE(7, 2)
      peer.send(bytes)
    },
  ],
] satisfies [string, Script][])
  t.test(`${what} ends the connection`, async t => {
    const { connection, closings } = await open(t, script, { bodyBytesMax: 1000 })
    await t.rejects(connection.request({ opcode: Opcode.noop }), { code: 'HOLDFAST_PROTOCOL' })
    await until(() => closings.length === 1)
    t.match(closings, [{ code: 'HOLDFAST_PROTOCOL' }])
  })

t.test('answers out of order are refused', async t => {
  const held: Buffer[] = []
  const { connection } = await open(t, (frame, peer) => {
    held.unshift(answer(frame))
    if (held.length === 2) peer.send(...held)
  })
  const requests = [1, 2].map(() => connection.request({ opcode: Opcode.noop }))
  for (const request of requests) await t.rejects(request, { code: 'HOLDFAST_PROTOCOL' })
})

t.test('a reader that throws fails its own request only', async t => {
  const { connection } = await open(t, echo)
  const broken = connection.send({ opcode: Opcode.get, key: 'k' }, () => {
    throw new RangeError('not what I expected')
  })
  await t.rejects(broken, { message: 'not what I expected' })
  t.equal(await valueOf(connection, 'still'), 'still')
})

t.test('close waits for the answers to come, then says goodbye', async t => {
  const { connection, server, closings } = await open(t, echo)
  const value = valueOf(connection, 'last')
  const closed = connection.close()
  await t.rejects(valueOf(connection, 'too late'), { code: 'HOLDFAST_CLOSED' })
  t.equal(await value, 'last')
  await closed
  t.same(
    server.last.received.map(frame => frame.opcode),
    [Opcode.get, Opcode.quit],
  )
  t.same(closings, [undefined])
})

t.test('close does not wait for ever', async t => {
  const { connection } = await open(t, () => {})
  await connection.close(20)
  t.notOk(connection.isOpen)
})

t.test('destroy fails what waits', async t => {
  const { connection, closings } = await open(t, () => {})
  const request = connection.request({ opcode: Opcode.noop })
  connection.destroy()
  await t.rejects(request, { code: 'HOLDFAST_CLOSED' })
  await until(() => closings.length === 1)
  t.same(closings, [undefined])
})

t.test('nobody there', async t => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  await t.rejects(Connection.open({ port }), {
    code: 'HOLDFAST_CONNECT',
    message: new RegExp(`cannot connect to 127.0.0.1:${port}: .*ECONNREFUSED`),
  })
})

t.test('a connection that is not made in time', async t => {
  const server = await ScriptedServer.start(t)
  // Time passes before anything else can happen.
  const after: Clock['after'] = (_delayMs, callback) => {
    queueMicrotask(callback)
    return { cancel: () => {} }
  }
  const attempt = Connection.open({ port: server.port, clock: { ...clientClock, after } })
  await t.rejects(attempt, { code: 'HOLDFAST_CONNECT', message: /within 5000 ms/ })
})

t.test('handshake: HELLO, SASL and SELECT_BUCKET, in this order', async t => {
  const { connection, server } = await open(t, (frame, peer) => {
    if (frame.opcode !== Opcode.hello) return false
    peer.reply(frame, { value: Buffer.from([0, 4, 0, 7]) })
    return true
  })
  const features = await handshake(connection, {
    agent: 'test',
    credentials: { username: 'user', password: 'pass', mechanism: 'PLAIN' },
    bucket: 'travel',
  })
  t.same([...features], [4, 7])
  const [hello, sasl, select] = server.last.received
  t.same(JSON.parse(hello!.key().toString()), { a: 'test' })
  t.equal(sasl!.opcode, Opcode.saslAuth)
  t.equal(sasl!.key().toString(), 'PLAIN')
  t.equal(sasl!.value().toString(), '\0user\0pass')
  t.equal(select!.opcode, Opcode.selectBucket)
  t.equal(select!.key().toString(), 'travel')
})

t.test('handshake: refusals are typed errors, an old server is none', async t => {
  const refuse = (opcode: number, status: number): Script => {
    return (frame, peer) => {
      if (frame.opcode !== opcode) return false
      peer.reply(frame, { status })
      return true
    }
  }
  const credentials = { username: 'u', password: 'p', mechanism: 'PLAIN' } as const
  const options = { credentials, bucket: 'b' }
  const old = await open(t, refuse(Opcode.hello, Status.unknownCommand))
  t.equal((await handshake(old.connection, options)).size, 0)
  const stranger = await open(t, refuse(Opcode.saslAuth, Status.authError))
  await t.rejects(handshake(stranger.connection, options), { message: /authError/ })
  const plain = await open(t, refuse(Opcode.selectBucket, Status.unknownCommand))
  await t.rejects(handshake(plain.connection, options), { message: /unknownCommand/ })
  await handshake(plain.connection, {})
  t.equal(plain.server.last.received.at(-1)!.key().toString(), 'default')
  await handshake(plain.connection, { bucket: false })
  t.equal(plain.server.last.received.at(-1)!.opcode, Opcode.hello)
  const nowhere = await open(t, refuse(Opcode.selectBucket, Status.keyNotFound))
  await t.rejects(handshake(nowhere.connection, options), {
    status: Status.keyNotFound,
    message: 'selectBucket: keyNotFound',
  })
})

t.test('a password is not sent in the clear because a server offers nothing else', async t => {
  const offer = (mechanisms: string): Script => {
    return (frame, peer) => {
      if (frame.opcode !== Opcode.saslListMechs) return false
      peer.reply(frame, { value: mechanisms })
      return true
    }
  }
  const credentials = { username: 'u', password: 'secret' }
  const weak = await open(t, offer('PLAIN'))
  await t.rejects(handshake(weak.connection, { credentials }), { code: 'HOLDFAST_PROTOCOL' })
  t.notOk(weak.server.last.received.some(frame => frame.value().includes('secret')))
  const strong = await open(t, offer('PLAIN SCRAM-SHA1 SCRAM-SHA256'))
  await t.rejects(handshake(strong.connection, { credentials }), { code: 'HOLDFAST_STATUS' })
  t.equal(strong.server.last.sent(Opcode.saslAuth)[0]!.key().toString(), 'SCRAM-SHA256')
})

t.test('a server that does not know the user is found out', async t => {
  const first = (frame: Frame) => frame.value().toString().split('r=')[1]!
  const pretend =
    (salted: (nonce: string) => string): Script =>
    (frame, peer) => {
      if (frame.opcode === Opcode.saslListMechs) peer.reply(frame, { value: 'SCRAM-SHA1' })
      else if (frame.opcode === Opcode.saslStep) peer.reply(frame, { value: 'v=AAAA' })
      else if (frame.opcode !== Opcode.saslAuth) return false
      else peer.reply(frame, { status: Status.authContinue, value: salted(first(frame)) })
      return true
    }
  const credentials = { username: 'u', password: 'secret' }
  for (const salted of [
    (nonce: string) => `r=${nonce}more,s=AAAA,i=1`,
    () => 'r=another,s=AAAA,i=1',
    (nonce: string) => `r=${nonce},s=AAAA,i=100000000`,
    () => 'nonsense',
  ]) {
    const { connection } = await open(t, pretend(salted))
    await t.rejects(handshake(connection, { credentials }), { code: 'HOLDFAST_PROTOCOL' })
  }
})

t.test('a ServerError says what the server said', async t => {
  const bodies = [
    { value: '{"error":{"context":"too much","ref":"ab-12"}}', datatype: 1 },
    { value: 'in plain words' },
    { value: 'Temporary failure' },
    { value: '{"error"', datatype: 1 },
    {},
  ]
  const { connection } = await open(t, (frame, peer) =>
    peer.reply(frame, { status: Status.temporaryFailure, ...bodies[frame.vbid] }),
  )
  const errors: ServerError[] = []
  for (const vbid of bodies.keys())
    await connection
      .send({ opcode: Opcode.set, vbid }, expectSuccess)
      .catch((error: ServerError) => errors.push(error))
  t.match(errors, [
    { message: 'set: temporaryFailure: too much', reference: 'ab-12', retry: 'later' },
    { message: 'set: temporaryFailure: in plain words', context: 'in plain words' },
    { message: 'set: temporaryFailure', statusName: 'temporaryFailure' },
    { message: 'set: temporaryFailure: {"error"' },
    { message: 'set: temporaryFailure', context: undefined },
  ])
})
