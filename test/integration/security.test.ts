import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { KvClient } from '../../src/client/index.ts'
import { TestClient } from '../server/harness.ts'
import { writeUsers } from '../support/access.ts'
import { logIn, plainLogin } from '../support/log-in.ts'
import { until } from '../resume/until.ts'
import { ownMemoryMiB } from './process-memory.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'

t.setTimeout(3 * 60_000)

const get = { opcode: Opcode.get, key: 'k' }
const clientOf = (t: Test, { port }: DaemonProcess) => TestClient.connect(t, port)

function metrics({ httpPort }: DaemonProcess, user?: string, password?: string) {
  const basic = Buffer.from(`${user}:${password}`).toString('base64')
  const headers = user === undefined ? {} : { authorization: `Basic ${basic}` }
  return fetch(`http://127.0.0.1:${httpPort}/metrics`, { headers })
}

t.test('an address that others reach has a first user, whose password is told once', async t => {
  const daemon = await startDaemon(t, { flags: ['--host', '0.0.0.0'] })
  const [, password] = /first user admin, password (\S+) /.exec(daemon.stdout[0]!)!
  const client = await clientOf(t, daemon)
  t.equal((await client.call(get)).status, Status.accessDenied)
  t.equal(await logIn(client, 'admin', password!), Status.success)
  t.equal((await client.call(get)).status, Status.keyNotFound)
  t.equal(await daemon.stop(), 0)
  t.notMatch(daemon.stderr.join('\n'), password!, 'it is not in the log')
  const { data } = daemon
  const again = await startDaemon(t, { data, flags: ['--host', '0.0.0.0'] })
  t.match(again.stdout, [/^holdfastd ready/])
  t.equal(await logIn(await clientOf(t, again), 'admin', password!), Status.success)
})

t.test('the first password can be chosen, also where the daemon would be open', async t => {
  const environment = { HOLDFAST_ADMIN_PASSWORD: 'chosen by me' }
  const daemon = await startDaemon(t, { environment })
  t.match(daemon.stdout, [/^holdfastd ready/])
  const client = await clientOf(t, daemon)
  t.equal((await client.call(get)).status, Status.accessDenied)
  t.equal((await client.call(plainLogin('admin', 'chosen by me'))).status, Status.success)
  t.equal(statSync(join(daemon.data, 'users.json')).mode & 0o777, 0o600)
  t.equal(statSync(join(daemon.data, 'audit.log')).mode & 0o777, 0o600)
  t.equal(await daemon.stop(), 0)
  const open = await startDaemon(t, { data: daemon.data, flags: ['--no-auth'] })
  t.equal((await (await clientOf(t, open)).call(get)).status, Status.keyNotFound)
})

t.test('a user who is added while the daemon runs closes what was open', async t => {
  const daemon = await startDaemon(t)
  const client = await clientOf(t, daemon)
  t.equal((await client.call(get)).status, Status.keyNotFound)
  t.equal((await metrics(daemon)).status, 200)
  const roles = ['read[default]']
  await writeUsers(join(daemon.data, 'users.json'), { name: 'reader', password: 'r', roles })
  await client.closed()
  t.equal((await (await clientOf(t, daemon)).call(get)).status, Status.accessDenied)
  t.equal((await metrics(daemon)).status, 401)
  t.equal((await metrics(daemon, 'reader', 'wrong')).status, 401)
  t.equal((await metrics(daemon, 'reader', 'r')).status, 403)
})

t.test(
  'HTTP asks the same users, but for the pages that tell whether the daemon is well',
  async t => {
    const daemon = await startDaemon(t, { environment: { HOLDFAST_ADMIN_PASSWORD: 'a:b' } })
    for (const page of ['', 'healthz', 'readyz']) {
      t.equal((await fetch(`http://127.0.0.1:${daemon.httpPort}/${page}`)).status, 200)
    }
    const refused = await metrics(daemon)
    t.equal(refused.status, 401)
    t.match(refused.headers.get('www-authenticate'), /^Basic realm=/)
    for (let scrape = 0; scrape < 3; scrape++) {
      t.match(await (await metrics(daemon, 'admin', 'a:b')).text(), /holdfast_logins_total/)
    }
    await metrics(daemon, 'admin', 'wrong one')
    const audit = readFileSync(join(daemon.data, 'audit.log'), 'utf8')
    const events = audit
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line))
    t.match(
      events.map(({ event, user, via }) => [event, user, via]),
      [
        ['user-added', 'admin'],
        ['login', 'admin', 'http'],
        ['login-failed', 'admin', 'http'],
      ],
      'not each of the requests that bring the same password',
    )
    t.equal(await daemon.stop(), 0)
    t.notMatch(audit + daemon.stderr.join('\n'), /a:b|wrong one/)
  },
)

t.test('five thousand idle connections cost little, and others are served', async t => {
  const environment = { HOLDFAST_ADMIN_PASSWORD: 'secret' }
  const daemon = await startDaemon(t, { environment, flags: ['--login-timeout', '1h'] })
  const { port } = daemon
  const credentials = { username: 'admin', password: 'secret' }
  const client = await KvClient.connect({ port, credentials })
  t.teardown(() => client.destroy())
  await client.set('k', 'v')
  const before = ownMemoryMiB(daemon.pid)
  const idle: Socket[] = []
  t.teardown(() => idle.forEach(socket => socket.destroy()))
  const count = 5_000
  for (let batch = 0; batch < count / 100; batch++) {
    const sockets = Array.from({ length: 100 }, () => connect({ host: '127.0.0.1', port }))
    for (const socket of sockets) socket.on('error', () => {})
    idle.push(...sockets)
    await Promise.all(sockets.map(socket => once(socket, 'connect')))
  }
  t.equal((await client.get('k'))?.value.toString(), 'v')
  const open = async () => Number((await client.stats()).get('curr_connections'))
  await until(async () => (await open()) > count, 'all accepted')
  const grownMiB = ownMemoryMiB(daemon.pid) - before
  t.comment(`${((grownMiB * 1024) / count).toFixed(1)} KiB each`)
  t.ok(grownMiB < 100, `${grownMiB} MiB`)
  t.ok(idle.every(socket => !socket.closed))
})

t.test('no log has a password, or what stands for one', async t => {
  const secrets = ['swordfish-admin', 'swordfish-wrong', 'swordfish-new']
  const environment = { HOLDFAST_ADMIN_PASSWORD: secrets[0]! }
  const daemon = await startDaemon(t, { environment, flags: ['--log-level', 'debug'] })
  const { port } = daemon
  for (const mechanism of ['PLAIN', 'SCRAM-SHA1', 'SCRAM-SHA512'] as const) {
    const as = (password: string) =>
      KvClient.connect({ port, credentials: { username: 'admin', password, mechanism } })
    await (await as(secrets[0]!)).close()
    await t.rejects(as(secrets[1]!), { message: /authError/ })
  }
  await metrics(daemon, 'admin', secrets[0])
  await metrics(daemon, 'admin', secrets[1])
  const taken = daemon.line('"added":["other"]')
  const roles = ['admin']
  const userFile = join(daemon.data, 'users.json')
  await writeUsers(userFile, { name: 'other', password: secrets[2]!, roles })
  await taken
  const client = await clientOf(t, daemon)
  t.equal((await client.call(plainLogin('other', secrets[2]!))).status, Status.success)
  t.equal((await client.call({ opcode: Opcode.saslAuth, key: secrets[1]! })).status, 0x20)
  t.equal(await daemon.stop(), 0)
  const log = daemon.stderr.join('\n')
  const audit = readFileSync(join(daemon.data, 'audit.log'), 'utf8')
  const { users } = JSON.parse(readFileSync(userFile, 'utf8'))
  const keys = users.flatMap(({ scram }: { scram: object }) =>
    Object.values(scram).flatMap(verifier => Object.values(verifier as object)),
  )
  const basic = secrets.map(secret => Buffer.from(`admin:${secret}`).toString('base64'))
  const plain = secrets.map(secret => Buffer.from(`\0admin\0${secret}`).toString('base64'))
  t.ok(log.includes('logged in') && audit.includes('login-failed') && keys.length > 10)
  for (const secret of [...secrets, ...keys, ...basic, ...plain, 'swordfish']) {
    t.notOk(log.includes(secret) || audit.includes(secret) || daemon.stdout.join().includes(secret))
  }
})
