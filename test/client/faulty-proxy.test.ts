import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import t from 'tap'
import { FaultyProxy, randomFaults, seededRandom, type FaultPlan } from '../support/faulty-proxy.ts'

interface Scene {
  proxy: FaultyProxy
  /** Connects through the proxy; both ends of the result are told apart by name. */
  dial: () => Promise<{ client: Socket; server: Socket }>
}

async function scene(t: Tap, plan?: FaultPlan, seed = 1): Promise<Scene> {
  const server: Server = createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted: Socket[] = []
  server.on('connection', socket => {
    socket.on('error', () => {})
    accepted.push(socket)
  })
  const { port } = server.address() as AddressInfo
  const proxy = await FaultyProxy.start({ targetPort: port, seed, ...(plan ? { plan } : {}) })
  t.teardown(async () => {
    await proxy.close()
    for (const socket of accepted) socket.destroy()
    server.close()
  })
  return {
    proxy,
    async dial() {
      const connection = once(server, 'connection') as Promise<[Socket]>
      const client = connect(proxy.port, '127.0.0.1')
      client.on('error', () => {})
      t.teardown(() => client.destroy())
      const [[socket]] = await Promise.all([connection, once(client, 'connect')])
      return { client, server: socket }
    },
  }
}

type Tap = Pick<typeof t, 'teardown'>

/** `once` of node:events would reject on the very errors these tests cause. */
const closed = (socket: Socket) =>
  new Promise<void>(resolve => {
    if (socket.closed) resolve()
    else socket.once('close', () => resolve())
  })

/** Everything that arrives until the socket closes. */
function collect(socket: Socket): { bytes: () => Buffer; ended: Promise<unknown> } {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  return { bytes: () => Buffer.concat(chunks), ended: closed(socket) }
}

t.test('without faults, both ways arrive whole and are counted', async t => {
  const { proxy, dial } = await scene(t)
  const { client, server } = await dial()
  const toClient = randomBytes(700_000)
  const toServer = randomBytes(300_000)
  const atClient = collect(client)
  const atServer = collect(server)
  server.end(toClient)
  client.end(toServer)
  await Promise.all([atClient.ended, atServer.ended])
  t.ok(atClient.bytes().equals(toClient))
  t.ok(atServer.bytes().equals(toServer))
  t.match(proxy.counters, { connections: 1, bytesToClient: 700_000, bytesToServer: 300_000 })
  t.match(proxy.counters, { cut: 0, 'half-open': 0, stall: 0, trickle: 0 })
})

t.test('a cut comes after exactly the planned byte and resets both sides', async t => {
  const { proxy, dial } = await scene(t, () => [{ kind: 'cut', afterBytes: 123_457 }])
  const { client, server } = await dial()
  const atClient = collect(client)
  let code: unknown
  server.once('error', (error: NodeJS.ErrnoException) => (code = error.code))
  server.write(randomBytes(500_000))
  server.resume()
  await Promise.all([atClient.ended, closed(server)])
  t.equal(atClient.bytes().length, 123_457)
  t.match(String(code), /ECONNRESET|EPIPE/)
  t.equal(proxy.counters.cut, 1)
  t.equal(proxy.counters.bytesToClient, 123_457)
})

t.test('half-open: the client is reset, the server is told nothing', async t => {
  const { proxy, dial } = await scene(t)
  const { client, server } = await dial()
  let told = false
  for (const event of ['end', 'close', 'error'] as const) server.on(event, () => (told = true))
  server.resume()
  client.resume()
  proxy.halfOpenNow()
  await closed(client)
  server.write('into the void')
  await new Promise(resolve => setTimeout(resolve, 60))
  t.notOk(told, 'no end, no close, no error')
  t.ok(server.writable)
  t.equal(proxy.liveConnections, 0)
  t.equal(proxy.counters['half-open'], 1)
  t.equal(proxy.counters.bytesToClient, 0)
  proxy.dropHalfOpen()
  await closed(server)
  t.ok(told)
})

t.test('half-open by bytes on the first connection only', async t => {
  const plan: FaultPlan = number => (number === 0 ? [{ kind: 'half-open', afterBytes: 10 }] : [])
  const { proxy, dial } = await scene(t, plan)
  const first = await dial()
  const atFirst = collect(first.client)
  first.server.write('0123456789abcdef')
  await atFirst.ended
  t.equal(atFirst.bytes().toString(), '0123456789')
  const second = await dial()
  const atSecond = collect(second.client)
  second.server.end('0123456789abcdef')
  second.server.resume()
  second.client.end()
  await atSecond.ended
  t.equal(atSecond.bytes().toString(), '0123456789abcdef')
  t.equal(proxy.counters.connections, 2)
})

t.test('a stall holds everything back for its time, then all goes on', async t => {
  const { proxy, dial } = await scene(t)
  const { client, server } = await dial()
  const atClient = collect(client)
  proxy.stallNow(80)
  const start = performance.now()
  server.end('late')
  server.resume()
  await once(client, 'data')
  t.ok(performance.now() - start >= 70, 'not before the stall is over')
  client.end()
  await atClient.ended
  t.equal(atClient.bytes().toString(), 'late')
  t.equal(proxy.counters.stall, 1)
})

t.test('a trickle lets a little through at a time', async t => {
  const bytes = randomBytes(4_000)
  const { dial } = await scene(t, () => [
    { kind: 'trickle', afterBytes: 0, durationMs: 60_000, bytesPerTick: 400, tickMs: 4 },
  ])
  const { client, server } = await dial()
  const atClient = collect(client)
  const start = performance.now()
  server.end(bytes)
  server.resume()
  client.end()
  await atClient.ended
  t.ok(performance.now() - start >= 9 * 4 - 8, 'ten ticks at least')
  t.ok(atClient.bytes().equals(bytes))
})

t.test('a fault by time strikes without traffic', async t => {
  const { proxy, dial } = await scene(t, () => [{ kind: 'cut', afterMs: 20 }])
  const { client, server } = await dial()
  client.resume()
  server.resume()
  await Promise.all([closed(client), closed(server)])
  t.equal(proxy.counters.cut, 1)
})

t.test('one seed is one run', t => {
  const plan = randomFaults({ everyBytes: [100, 10_000], kinds: ['cut', 'stall', 'trickle'] })
  const faults = (seed: number) =>
    [0, 1, 2, 3].map(number => plan(number, seededRandom(seed * 1_000_003 + number)))
  t.same(faults(5), faults(5))
  t.notSame(faults(5), faults(6))
  t.notSame(faults(5)[0], faults(5)[1])
  for (const list of faults(5)) {
    const at = list.map(fault => fault.afterBytes!)
    t.same(
      at,
      at.toSorted((one, other) => one - other),
    )
    t.ok(list.slice(0, -1).every(fault => fault.kind !== 'cut'))
  }
  t.end()
})

t.test('stalls and trickles at random points change no byte', async t => {
  const plan = randomFaults({
    everyBytes: [1_000, 200_000],
    kinds: ['stall', 'trickle'],
    perConnection: 12,
    durationMs: [1, 5],
  })
  const { proxy, dial } = await scene(t, plan, 42)
  const { client, server } = await dial()
  const bytes = randomBytes(3_000_000)
  const hash = createHash('sha256')
  let length = 0
  client.on('data', (chunk: Buffer) => {
    length += chunk.length
    hash.update(chunk)
  })
  server.end(bytes)
  server.resume()
  client.end()
  await closed(client)
  t.equal(length, bytes.length)
  t.equal(hash.digest('hex'), createHash('sha256').update(bytes).digest('hex'))
  t.ok(proxy.counters.stall + proxy.counters.trickle >= 5)
})

t.test('a server that cannot be reached resets the client', async t => {
  const { proxy } = await scene(t)
  const unused = createServer()
  unused.listen(0, '127.0.0.1')
  await once(unused, 'listening')
  proxy.targetPort = (unused.address() as AddressInfo).port
  unused.close()
  await once(unused, 'close')
  const client = connect(proxy.port, '127.0.0.1')
  client.on('error', () => {})
  client.resume()
  await closed(client)
  t.ok(client.destroyed)
})

t.test('close ends all connections', async t => {
  const { proxy, dial } = await scene(t)
  const one = await dial()
  const two = await dial()
  for (const socket of [one.client, one.server, two.client, two.server]) socket.resume()
  proxy.halfOpenNow()
  const three = await dial()
  three.client.resume()
  three.server.resume()
  await proxy.close()
  await Promise.all([one, two, three].flatMap(({ client, server }) => [client, server].map(closed)))
  t.equal(proxy.liveConnections, 0)
})
