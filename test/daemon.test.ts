import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import t, { type Test } from 'tap'
import { encodeRequest } from '../protocol/requests.ts'
import { Opcode } from '../protocol/opcode.ts'
import { KvClient } from '../src/client/kv-client.ts'
import { runDaemon } from './integration/run-daemon.ts'
import { startDaemon, type DaemonProcess } from './support/start-daemon.ts'

// A dozen daemons are started one after the other.
t.setTimeout(180_000)

const root = resolve(import.meta.dirname, '../..')
const small = ['--vbuckets=4', '--environments=1']
const free = ['--port=0', '--http-port=0', ...small]

const readiness = async ({ httpPort }: DaemonProcess): Promise<string> =>
  await (await fetch(`http://127.0.0.1:${httpPort}/readyz`)).text()

/** A client that asks for more than the kernel takes and never reads it: a stop has to wait. */
async function neverRead(t: Test, daemon: DaemonProcess): Promise<void> {
  const { host, port } = daemon
  const client = await KvClient.connect({ host, port })
  t.teardown(() => client.close())
  await client.set('large', Buffer.alloc(8 * 1024 * 1024))
  const socket = connect({ host, port }).pause()
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  const get = encodeRequest({ opcode: Opcode.get, vbid: client.vbucketOf('large'), key: 'large' })
  socket.write(Buffer.concat([get, get, get, get]))
  // Once this is answered, so is what came before it on the other connection.
  await client.get('large')
  await client.get('large')
}

t.test('the log of a run is JSON from the first line to the last', async t => {
  const daemon = await startDaemon(t, { flags: small })
  t.match(await readiness(daemon), /"ready"/)
  t.equal(await daemon.stop(), 0)
  const messages = daemon.stderr.map(line => (JSON.parse(line) as { msg: string }).msg)
  t.same(messages, ['ready', 'stopping', 'stopped'])
})

t.test('while it stops it is healthy but not ready', async t => {
  const daemon = await startDaemon(t, { flags: [...small, '--stop-grace=1m'] })
  await neverRead(t, daemon)
  process.kill(daemon.pid, 'SIGINT')
  await daemon.line('stopping')
  t.match(await readiness(daemon), /"not ready".*"stopping"/)
  t.ok((await fetch(`http://127.0.0.1:${daemon.httpPort}/healthz`)).ok)
})

t.test('a stop that hangs ends at its deadline', async t => {
  const daemon = await startDaemon(t, {
    flags: [...small, '--stop-grace=1m', '--stop-deadline=1s'],
  })
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
    const daemon = await startDaemon(t, {
      flags: small,
      data: join(t.testdir(), name),
      environment: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(bug)}` },
    })
    process.kill(daemon.pid, 'SIGUSR2')
    t.equal(await daemon.exited, 70, name)
    t.match(daemon.stderr.at(-1), /"fatal".*a seeded bug/)
  }
})

t.test('wrong settings are refused with 2 and one line, before anything is opened', async t => {
  const data = join(t.testdir(), 'data')
  const { code, stdout, stderr } = await runDaemon(['--data', data, '--vbuckets=3'])
  t.equal(code, 2)
  t.equal(stdout, '')
  t.match(stderr, /^holdfastd: --vbuckets: "3" expected a power of two[^\n]*\n$/)
  t.notOk(existsSync(data))
})

t.test('the environment counts for a whole process, too', async t => {
  const good = await runDaemon(['--check-config'], { HOLDFAST_PURGE_AGE: '24h' })
  t.equal(good.code, 0)
  t.match(good.stdout, /^purge-age: 1d +# HOLDFAST_PURGE_AGE$/m)
  const bad = await runDaemon([], { HOLDFAST_PURGE_AGE: 'old' })
  t.equal(bad.code, 2)
  t.match(bad.stderr, /^holdfastd: HOLDFAST_PURGE_AGE: "old" expected a duration/)
  for (const flag of ['--help', '--version']) t.equal((await runDaemon([flag])).code, 0)
})

t.test('a daemon that cannot start names the flag to change and leaves nothing behind', async t => {
  const data = join(t.testdir({ file: '' }), 'data')
  const daemon = await startDaemon(t, { data, flags: small })
  const { httpPort } = daemon
  const other = join(t.testdirName, 'other')
  const noHttp = await runDaemon([...free, '--data', other, `--http-port=${httpPort}`])
  t.equal(noHttp.code, 1)
  t.match(noHttp.stderr, /EADDRINUSE.* \[port-in-use\]: .*--http-port\n$/)

  // The last part to start fails: those before it have to be closed again.
  const noPort = await runDaemon([...free, '--data', other, `--port=${httpPort}`])
  t.equal(noPort.code, 1)
  t.match(noPort.stderr, /EADDRINUSE.* \[port-in-use\]: .*--port\n$/)
  t.notOk(existsSync(join(other, 'LOCK')))

  const noFolder = await runDaemon([...free, '--data', join(t.testdirName, 'file', 'data')])
  t.equal(noFolder.code, 1)
  t.match(noFolder.stderr, /ENOTDIR/)
})

t.test('a damaged or a newer store is refused with what to do', async t => {
  const first = await startDaemon(t, { flags: small })
  const { data } = first
  await first.stop()
  const description = join(data, 'buckets/default/bucket.json')
  const text = readFileSync(description, 'utf8')
  writeFileSync(description, text.replace(/"format": \d+/, '"format": 99'))
  const newer = await runDaemon([...free, '--data', data])
  t.equal(newer.code, 1)
  t.match(newer.stderr, /\[format-newer\]/)
  writeFileSync(description, '{')
  const damaged = await runDaemon([...free, '--data', data])
  t.equal(damaged.code, 1)
  t.match(damaged.stderr, /\[store-damaged\]/)
  writeFileSync(description, text)
  await startDaemon(t, { data })
})

t.test('every metric is told about in docs/operations.md, and no other', async t => {
  const { httpPort } = await startDaemon(t, { flags: small })
  const page = await (await fetch(`http://127.0.0.1:${httpPort}/metrics`)).text()
  const served = [...page.matchAll(/^# TYPE (holdfast_\S+)/gm)].map(match => match[1]!)
  const document = readFileSync(join(root, 'docs/operations.md'), 'utf8')
  const told = [...document.matchAll(/^\| `(holdfast_[a-z_]+)/gm)].map(match => match[1]!)
  t.same(told.sort(), served.sort())
})
