import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { startDaemon } from '../support/start-daemon.ts'
import { connectKv } from './clients.ts'
import { runDaemon } from './run-daemon.ts'

// Daemons start and stop in a moment, but not on a machine that is busy with other tests.
t.setTimeout(3 * 60_000)

t.test('the ready line names the ports it found, and both are served', async t => {
  const daemon = await startDaemon(t)
  t.equal(daemon.host, '127.0.0.1')
  t.not(daemon.port, daemon.httpPort)
  const client = await connectKv(t, daemon)
  t.match(await client.version(), /^\d+\.\d+\.\d+/)
  const answer = await fetch(`http://127.0.0.1:${daemon.httpPort}/readyz`)
  t.equal(answer.status, 200)
  t.equal(await daemon.stop(), 0)
})

t.test("node's own flags are for the main thread", async t => {
  const daemon = await startDaemon(t, { nodeFlags: ['--max-old-space-size=300', '--trace-gc'] })
  const client = await connectKv(t, daemon)
  await client.set('k', 'v', { durability: 'persistToMajority' })
  t.equal(await daemon.stop(), 0)
})

t.test('a second start finds everything that the first one held', async t => {
  const first = await startDaemon(t)
  const client = await connectKv(t, first)
  const kept = Array.from(
    { length: 500 },
    (_, index) => [`key-${index}`, `value ${index}`] as const,
  )
  await Promise.all(kept.map(([key, value]) => client.set(key, value, { flags: 0xdeadbeef })))
  const expiry = Math.floor(Date.now() / 1000) + 3600
  const { cas } = await client.set('expiring', 'later', { expiry })
  await client.set('gone', 'soon')
  const tombstone = await client.remove('gone')
  const vbid = client.vbucketOf('gone')
  const failoverLog = await client.failoverLog(vbid)
  const seqnos = await client.allVbSeqnos()
  t.equal(await first.stop(), 0)

  const second = await startDaemon(t, { data: first.data })
  const again = await connectKv(t, second)
  const found = await Promise.all(kept.map(([key]) => again.get(key)))
  for (const [index, document] of found.entries()) {
    t.equal(document?.value.toString(), kept[index]![1])
    t.equal(document?.flags, 0xdeadbeef)
  }
  t.equal((await again.get('expiring'))?.cas, cas)
  t.match(await again.getMeta('expiring'), { expiry, isDeleted: false })
  t.equal(await again.get('gone'), undefined)
  t.match(await again.getMeta('gone'), { isDeleted: true, cas: tombstone.cas })
  t.same(await again.allVbSeqnos(), seqnos)
  t.same(await again.failoverLog(vbid), failoverLog, 'a clean stop begins no new history')
  const { cas: later } = await again.set('expiring', 'x')
  t.ok(later > cas, 'CAS goes on growing')
  t.equal(await second.stop(), 0)
})

t.test('a second daemon on the same data is refused and does no harm', async t => {
  const daemon = await startDaemon(t)
  const client = await connectKv(t, daemon)
  await client.set('k', 'v')
  const flags = ['--port', '0', '--http-port', '0', '--data', daemon.data]
  const { code, stdout, stderr } = await runDaemon(flags)
  t.equal(code, 1)
  t.equal(stdout, '', 'it never said that it was ready')
  t.match(
    stderr,
    new RegExp(`in use by another holdfastd, process ${daemon.pid} \\[data-in-use\\]`),
  )
  t.match(stderr, /--data/, 'it says what to do')
  t.equal((await client.get('k'))?.value.toString(), 'v')
  t.equal(await daemon.stop(), 0)
})

t.test('data of a daemon that was killed can be taken at once', async t => {
  const first = await startDaemon(t)
  t.equal(await first.kill(), 'SIGKILL')
  const second = await startDaemon(t, { data: first.data })
  t.equal(await second.stop(), 0)
})

t.test('a port that is taken is an error that names the flag', async t => {
  const daemon = await startDaemon(t)
  const data = t.testdir() + '/other'
  const flags = ['--data', data, '--http-port', '0', '--port', String(daemon.port)]
  const { code, stdout, stderr } = await runDaemon(flags)
  t.equal(code, 1)
  t.equal(stdout, '')
  t.match(stderr, /\[port-in-use\]/)
  t.match(stderr, /--port/)
})

t.test('configuration is checked without starting', async t => {
  const data = t.testdir() + '/data'
  const check = (...flags: string[]) => runDaemon(['--check-config', '--data', data, ...flags])
  const [good, bad, unknown] = await Promise.all([
    check('--ack', 'disk'),
    check('--ack', 'paper'),
    check('--prot', '1'),
  ])
  t.equal(good.code, 0, good.stderr)
  t.match(good.stdout, /ack.*disk/)
  t.equal(bad.code, 2)
  t.match(bad.stderr, /ack/)
  t.equal(unknown.code, 2)
  t.match(unknown.stderr, /--port/, 'the nearest name is suggested')
  t.notOk(existsSync(data), 'nothing has been made')
})

t.test('an address that others could reach is refused without logging in', async t => {
  const data = t.testdir() + '/data'
  const hosts = ['0.0.0.0', '::', '192.0.2.1']
  const flags = ['--data', data, '--port', '0', '--http-port', '0', '--no-auth']
  const ends = await Promise.all(hosts.map(host => runDaemon([...flags, '--host', host])))
  for (const { code, stdout, stderr } of ends) {
    t.equal(code, 2)
    t.equal(stdout, '')
    t.match(stderr, /needs a host of this machine alone.+use 127\.0\.0\.1/)
  }
})

t.test('a connection beyond the limit is closed, and a place that is freed can be had', async t => {
  const daemon = await startDaemon(t, { flags: ['--connections-max', '3'] })
  const clients = []
  for (let index = 0; index < 3; index++) clients.push(await connectKv(t, daemon))
  const refused = connect(daemon.port, daemon.host)
  refused.on('error', () => undefined)
  await once(refused, 'close')
  await clients[0]!.set('k', 'v')
  await clients[1]!.close()
  await daemon.line('connection refused')
  // The client knows that it has closed a little before the daemon does.
  const last = await withinDeadline(() => connectKv(t, daemon))
  t.equal((await last.get('k'))?.value.toString(), 'v')
  t.equal(await daemon.stop(), 0)
})

/** Tries again until it works, for at most ten seconds. */
async function withinDeadline<Value>(attempt: () => Promise<Value>): Promise<Value> {
  const deadlineMs = performance.now() + 10_000
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (performance.now() > deadlineMs) throw error
      await delay(20)
    }
  }
}
