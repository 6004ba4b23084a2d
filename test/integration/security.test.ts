import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { TestClient } from '../server/harness.ts'
import { writeUsers } from '../support/access.ts'
import { logIn, plainLogin } from '../support/log-in.ts'
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
