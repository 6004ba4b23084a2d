import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import t, { type Test } from 'tap'
import { encodeRequest } from '../protocol/requests.ts'
import { Opcode } from '../protocol/opcode.ts'
import { KvClient } from '../src/client/kv-client.ts'
import { compiledDaemon, startDaemon, type DaemonProcess } from './support/start-daemon.ts'

// A dozen daemons are started one after the other.
t.setTimeout(180_000)

const root = resolve(import.meta.dirname, '../..')
const flagsForFreePorts = ['--port=0', '--http-port=0', '--vbuckets=4', '--environments=1']

/** Runs a daemon that is expected to end by itself. */
function run(flags: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  return new Promise<{ code: number; stdout: string; stderr: string }>(done => {
    const options = { timeout: 20_000, env: { PATH: process.env['PATH'], ...environment } }
    const all = [compiledDaemon, ...flags]
    execFile(process.execPath, all, options, (error, stdout, stderr) => {
      done({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

async function connectTo(t: Test, { host, port }: DaemonProcess): Promise<KvClient> {
  const client = await KvClient.connect({ host, port })
  t.teardown(() => client.close())
  return client
}

const readiness = async ({ httpPort }: DaemonProcess): Promise<string> =>
  await (await fetch(`http://127.0.0.1:${httpPort}/readyz`)).text()

t.test('a daemon says where it serves, is ready, and stops with 0 on SIGTERM', async t => {
  const daemon = await startDaemon(t)
  t.equal(daemon.host, '127.0.0.1')
  t.ok(daemon.port > 0 && daemon.httpPort > 0)
  t.match(await readiness(daemon), /"ready"/)
  t.equal(await daemon.stop(), 0)
  const messages = daemon.stderr.map(line => (JSON.parse(line) as { msg: string }).msg)
  t.same(messages, ['ready', 'stopping', 'stopped'])
})

t.test('what was acknowledged before a clean stop is there after it', async t => {
  const daemon = await startDaemon(t, { flags: ['--vbuckets=16'] })
  const client = await connectTo(t, daemon)
  const acknowledged: string[] = []
  const writes = Array.from({ length: 5_000 }, (_, index) => {
    const key = `document-${index}`
    return client.set(key, key).then(
      () => acknowledged.push(key),
      () => {},
    )
  })
  await writes[1_000]
  t.equal(await daemon.stop(), 0)
  await Promise.all(writes)
  t.ok(acknowledged.length > 1_000, `${acknowledged.length} were acknowledged`)

  const again = await startDaemon(t, { data: daemon.data })
  const reader = await connectTo(t, again)
  const read = await Promise.all(acknowledged.map(key => reader.get(key)))
  t.same(
    read.map(document => document?.value.toString()),
    acknowledged,
  )
  t.notOk(
    again.stderr.some(line => line.includes('not clean')),
    'and no new history was begun',
  )
})

/** A client that asks for more than the kernel takes and never reads it: a stop has to wait. */
async function neverRead(t: Test, daemon: DaemonProcess): Promise<void> {
  const client = await connectTo(t, daemon)
  await client.set('large', Buffer.alloc(8 * 1024 * 1024))
  const socket = connect({ host: daemon.host, port: daemon.port }).pause()
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  const get = encodeRequest({ opcode: Opcode.get, vbid: client.vbucketOf('large'), key: 'large' })
  socket.write(Buffer.concat([get, get, get, get]))
  // Once this is answered, so is what came before it on the other connection.
  await client.get('large')
  await client.get('large')
}

t.test('while it stops it is not ready, and a second signal ends it at once', async t => {
  const daemon = await startDaemon(t, { flags: ['--stop-grace=1m'] })
  await neverRead(t, daemon)
  process.kill(daemon.pid, 'SIGINT')
  await daemon.line('stopping')
  t.match(await readiness(daemon), /"not ready".*"stopping"/)
  process.kill(daemon.pid, 'SIGTERM')
  t.equal(await daemon.exited, 128 + 15)
})

t.test('clients that do not take their answers are cut off after the grace', async t => {
  const daemon = await startDaemon(t, { flags: ['--stop-grace=200ms'] })
  await neverRead(t, daemon)
  t.equal(await daemon.stop(), 0)
  t.match(daemon.stderr.join('\n'), /cutting off clients at the stop/)
})

t.test('a stop that hangs ends at its deadline', async t => {
  const daemon = await startDaemon(t, { flags: ['--stop-grace=1m', '--stop-deadline=1s'] })
  await neverRead(t, daemon)
  t.equal(await daemon.stop(), 3)
  t.match(daemon.stderr.at(-1), /"fatal".*the stop hung/)
})

t.test('a bug stops the daemon at once with 70, and the log says which', async t => {
  const bugs = {
    exception: 'process.on("SIGUSR2", () => { throw new Error("a seeded bug") })',
    rejection: 'process.on("SIGUSR2", () => { Promise.reject(new Error("a seeded bug")) })',
  }
  for (const [name, bug] of Object.entries(bugs)) {
    const preload = `--import=data:text/javascript,${encodeURIComponent(bug)}`
    const daemon = await startDaemon(t, {
      data: join(t.testdir(), name),
      environment: { NODE_OPTIONS: preload },
    })
    process.kill(daemon.pid, 'SIGUSR2')
    t.equal(await daemon.exited, 70, name)
    t.match(daemon.stderr.at(-1), /"fatal".*a seeded bug/)
  }
})

t.test('wrong settings are refused with 2 and one line, before anything is opened', async t => {
  const data = join(t.testdir(), 'data')
  const { code, stdout, stderr } = await run(['--data', data, '--vbuckets=3'])
  t.equal(code, 2)
  t.equal(stdout, '')
  t.match(stderr, /^holdfastd: --vbuckets: "3" expected a power of two.*\n$/)
  t.equal(stderr.split('\n').length, 2)
  t.throws(() => readFileSync(data), { code: 'ENOENT' })
})

t.test('--check-config says what is in force, or what is wrong', async t => {
  const good = await run(['--check-config'], { HOLDFAST_PURGE_AGE: '24h' })
  t.equal(good.code, 0)
  t.match(good.stdout, /^purge-age: 1d +# HOLDFAST_PURGE_AGE$/m)
  const bad = await run(['--check-config'], { HOLDFAST_PURGE_AGE: 'old' })
  t.equal(bad.code, 2)
  t.match(bad.stderr, /^holdfastd: HOLDFAST_PURGE_AGE: "old" expected a duration/)
  for (const flag of ['--help', '--version']) t.equal((await run([flag])).code, 0)
})

t.test('a daemon that cannot start says what to do and leaves nothing behind', async t => {
  const occupied = createServer().listen(0, '127.0.0.1')
  await once(occupied, 'listening')
  t.teardown(() => occupied.close())
  const { port } = occupied.address() as AddressInfo
  const data = join(t.testdir({ file: '' }), 'data')

  const noPort = await run(['--data', data, ...flagsForFreePorts, `--port=${port}`])
  t.equal(noPort.code, 1)
  t.match(noPort.stderr, /EADDRINUSE.* \[port-in-use\]: .*--port\n$/)
  t.equal(noPort.stdout, '')

  const noHttp = await run(['--data', data, ...flagsForFreePorts, `--http-port=${port}`])
  t.equal(noHttp.code, 1)
  t.match(noHttp.stderr, /\[port-in-use\]: .*--http-port\n$/)

  const noFolder = await run(['--data', join(t.testdirName, 'file', 'data'), ...flagsForFreePorts])
  t.equal(noFolder.code, 1)
  t.match(noFolder.stderr, /ENOTDIR/)

  const daemon = await startDaemon(t, { data, flags: flagsForFreePorts.slice(2) })
  const second = await run(['--data', data, ...flagsForFreePorts])
  t.equal(second.code, 1)
  t.match(second.stderr, `in use by another holdfastd, process ${daemon.pid} [data-in-use]`)
  t.match(await readiness(daemon), /"ready"/)
})

t.test('a damaged or a newer store is refused with what to do', async t => {
  const first = await startDaemon(t, { flags: flagsForFreePorts.slice(2) })
  const { data } = first
  await first.stop()
  const description = join(data, 'buckets/default/bucket.json')
  const text = readFileSync(description, 'utf8')
  writeFileSync(description, text.replace(/"format": \d+/, '"format": 99'))
  const newer = await run(['--data', data, ...flagsForFreePorts])
  t.equal(newer.code, 1)
  t.match(newer.stderr, /\[format-newer\]/)
  writeFileSync(description, '{')
  const damaged = await run(['--data', data, ...flagsForFreePorts])
  t.equal(damaged.code, 1)
  t.match(damaged.stderr, /\[store-damaged\]/)
  writeFileSync(description, text)
  await startDaemon(t, { data })
})

t.test('every metric is told about in docs/operations.md, and no other', async t => {
  const { httpPort } = await startDaemon(t, { flags: flagsForFreePorts.slice(2) })
  const page = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text()
  const served = [...page.matchAll(/^# TYPE (holdfast_\S+)/gm)].map(match => match[1]!)
  const document = readFileSync(join(root, 'docs/operations.md'), 'utf8')
  const told = [...document.matchAll(/^\| `(holdfast_[a-z_]+)/gm)].map(match => match[1]!)
  t.same(told.sort(), served.sort())
})
