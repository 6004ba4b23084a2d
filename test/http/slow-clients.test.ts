/** Clients of the HTTP ports that take their time, or only a place. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectByTls } from 'node:tls'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/clock.ts'
import { HttpServer } from '../../src/http/http-server.ts'
import { connectionTimes, type ConnectionLimits } from '../../src/http/connection-limits.ts'
import { silentLog } from '../../src/log.ts'
import { ownMemoryMiB } from '../integration/process-memory.ts'
import { accessTo } from '../support/access.ts'
import { install, pem } from '../support/certificates.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { until } from '../resume/until.ts'

t.setTimeout(120_000)

/** As they are, but for a tenth of the time. */
const hasty = Object.fromEntries(
  Object.entries(connectionTimes).map(([name, value]) => [
    name,
    name.endsWith('Ms') ? value / 10 : value,
  ]),
) as unknown as typeof connectionTimes

async function start(t: Test, limits: Partial<ConnectionLimits> = {}) {
  const warnings: string[] = []
  const server = new HttpServer(
    {
      unreadiness: () => undefined,
      metrics: async () => '',
      metricsContentType: 'text/plain',
      access: () => accessTo(t),
      node: () => undefined,
      mapStreamsMax: 1,
      connectionLimits: { ...hasty, connectionsMax: 50, ...limits },
    },
    { ...silentLog, warn: (_fields: object, message: string) => void warnings.push(message) },
  )
  t.teardown(() => server.close())
  const { port } = await server.listen('127.0.0.1', 0)
  const { certificate, key } = install('server', t.testdir())
  const files = { certificate, key, clientCa: undefined }
  const byTls = await server.listenByTls({ host: '127.0.0.1', port: 0, files, clock: systemClock })
  const open = async (): Promise<Socket> => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    await once(socket, 'connect')
    return socket
  }
  const openByTls = async (): Promise<Socket> => {
    const socket = connectByTls({ host: '127.0.0.1', port: byTls.port, ca: pem('authority') })
    socket.on('error', () => {})
    t.teardown(() => socket.destroy())
    await once(socket, 'secureConnect')
    return socket
  }
  const get = async () => (await fetch(`http://127.0.0.1:${port}/healthz`)).status
  return { open, openByTls, get, warnings, tlsPort: byTls.port }
}

const headers = `GET /healthz HTTP/1.1\r\nhost: x\r\nx-long: ${'x'.repeat(4000)}\r\n\r\n`

/** Sends one byte after another; resolves with how long it was allowed to. */
async function trickle(socket: Socket, text: string): Promise<number> {
  const began = performance.now()
  let at = 0
  const timer = setInterval(() => {
    if (at < text.length) socket.write(text[at++]!)
  }, 10)
  socket.resume()
  await once(socket, 'close')
  clearInterval(timer)
  return performance.now() - began
}

async function closed(socket: Socket): Promise<void> {
  if (!socket.closed) await once(socket.resume(), 'close')
}

for (const kind of ['open', 'openByTls'] as const) {
  t.test(`headers that come byte by byte are not waited for (${kind})`, async t => {
    const scene = await start(t)
    const tookMs = await trickle(await scene[kind](), headers)
    t.ok(tookMs >= 900 && tookMs < 10_000, `${tookMs} ms`)
    t.equal(await scene.get(), 200)
  })
}

t.test('nor is a body that does, nor anything from who says nothing', async t => {
  const { open, openByTls, get, tlsPort } = await start(t)
  const body = 'POST /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n'
  const unshaken = connect({ host: '127.0.0.1', port: tlsPort })
  unshaken.on('error', () => {})
  await once(unshaken, 'connect')
  const silent = [await open(), await openByTls(), unshaken]
  for (const socket of silent) socket.resume()
  const closed = Promise.all(silent.map(socket => once(socket, 'close')))
  const slow = await open()
  slow.write(body)
  await trickle(slow, 'x'.repeat(5000))
  await closed
  t.equal(await get(), 200)
})

t.test('headers have an end', async t => {
  const { open, get } = await start(t)
  const socket = await open()
  let answer = ''
  socket.on('data', chunk => (answer += String(chunk)))
  socket.write(`GET / HTTP/1.1\r\nx: ${'x'.repeat(20_000)}`)
  await once(socket, 'close')
  t.match(answer, /^HTTP\/1.1 431 /)
  t.equal(await get(), 200)
})

t.test(
  'past the greatest number of connections a further one is closed, and it is told',
  async t => {
    const scene = await start(t, { connectionsMax: 5, headersTimeoutMs: 3_000 })
    const taken = await Promise.all(Array.from({ length: 5 }, () => scene.open()))
    const beyond = [await scene.open(), await scene.open()]
    await Promise.all(beyond.map(closed))
    t.ok(taken.every(socket => !socket.closed))
    t.same(scene.warnings, ['no more HTTP connections are taken'])
    taken[0]!.destroy()
    await until(async () => (await scene.get().catch(() => 0)) === 200, 'a place is free')
    await Promise.all(taken.map(closed))
    t.equal(await scene.get(), 200, 'places are free again when those who say nothing are gone')
  },
)

t.test('a thousand connections that send headers for ever cost little', async t => {
  const daemon = await startDaemon(t, { flags: ['--http-connections-max', '1000'] })
  const before = ownMemoryMiB(daemon.pid)
  const half = headers.slice(0, -2)
  const sockets: Socket[] = []
  t.teardown(() => sockets.forEach(socket => socket.destroy()))
  for (let i = 0; i < 1_100; i++) {
    const socket = connect({ host: '127.0.0.1', port: daemon.httpPort! })
    socket.on('error', () => {})
    socket.resume()
    socket.write(half)
    sockets.push(socket)
  }
  await until(() => sockets.filter(socket => socket.closed).length >= 100, 'some are too many')
  const grownMiB = ownMemoryMiB(daemon.pid) - before
  t.ok(grownMiB < 100, `${grownMiB} MiB`)
  await until(() => sockets.every(socket => socket.closed), 'all are gone', 60_000)
  t.equal((await fetch(`http://127.0.0.1:${daemon.httpPort}/healthz`)).status, 200)
})
