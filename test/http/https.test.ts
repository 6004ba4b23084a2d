/** The HTTP pages by TLS, on a daemon as a process. */
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { connect as connectPlainly } from 'node:net'
import { connect, type ConnectionOptions } from 'node:tls'
import t, { type Test } from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { writeUsers } from '../support/access.ts'
import { certificateFile, install, keyFile, pem, shown } from '../support/certificates.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'

const password = 'a password of many words'

interface Asked {
  readonly method?: string
  readonly user?: string
  readonly form?: Record<string, string>
  readonly tls?: ConnectionOptions
}

/** The status and the body of a page. */
async function page({ httpsPort: port }: DaemonProcess, path: string, asked: Asked = {}) {
  const { method = 'GET', user, form, tls } = asked
  const headers = {
    ...(user === undefined ? {} : { authorization: `Basic ${btoa(`${user}:${password}`)}` }),
    ...(form && { 'content-type': 'application/x-www-form-urlencoded' }),
  }
  const place = { host: '127.0.0.1', port, path, method, headers, agent: false as const }
  const asking = request({ ...place, ca: pem('authority'), ...tls })
  asking.end(form && new URLSearchParams(form).toString())
  const [answer] = (await once(asking, 'response')) as [
    NodeJS.ReadableStream & { statusCode: number },
  ]
  let text = ''
  for await (const chunk of answer) text += String(chunk)
  return { status: answer.statusCode, text }
}

async function start(t: Test, ...more: string[]) {
  const files = install('server', t.testdir())
  const tls = ['--tls-certificate', files.certificate, '--tls-key', files.key]
  const flags = ['--vbuckets', '4', '--https-port', '0', ...tls, ...more]
  const environment = { HOLDFAST_ADMIN_PASSWORD: password }
  const data = join(t.testdirName, 'data')
  return { files, daemon: await startDaemon(t, { data, flags, environment }) }
}

t.setTimeout(120_000)

t.test('the pages are there by TLS, for the same users, and all else can be off', async t => {
  const { daemon } = await start(t, '--port', 'off', '--http-port', 'off', '--tls-port', '0')
  t.match(daemon.stdout.join('\n'), /ready on tls [\d.]+:\d+, https on [\d.]+:\d+, data in/)
  t.notOk(daemon.port || daemon.httpPort, 'there are no other ports')
  t.equal((await page(daemon, '/readyz')).status, 200)
  t.equal((await page(daemon, '/pools/default')).status, 401)
  const user = 'admin'
  const form = { name: 'travel', ramQuotaMB: '100', numVBuckets: '4' }
  const made = await page(daemon, '/pools/default/buckets', { method: 'POST', user, form })
  t.equal(made.status, 202, made.text)
  const services = { kvSSL: daemon.tlsPort, mgmtSSL: daemon.httpsPort }
  const map = JSON.parse((await page(daemon, '/pools/default/b/travel', { user })).text) as object
  t.match(map, {
    nodes: [{ hostname: `$HOST:${daemon.httpsPort}`, ports: { direct: daemon.tlsPort } }],
  })
  t.same((map as { nodesExt: object[] }).nodesExt, [{ thisNode: true, services }])
  const pool = JSON.parse((await page(daemon, '/pools/default', { user })).text) as object
  t.match(pool, {
    nodes: [{ hostname: `127.0.0.1:${daemon.httpsPort}`, ports: { httpsMgmt: daemon.httpsPort } }],
  })
  const credentials = { username: user, password }
  const tls = { ca: pem('authority') }
  const kv = await KvClient.connect({ port: daemon.tlsPort, tls, credentials })
  t.teardown(() => kv.close())
  t.same((await kv.listBuckets()).sort(), ['default', 'travel'])
  const audited = readFileSync(join(daemon.data, 'audit.log'), 'utf8')
  t.match(audited, /"bucket-created".*"via":"https"/)
  t.equal(await daemon.stop(), 0, 'connections that are kept do not hold up the stop')
})

t.test('both ports may be there; a stream of maps comes by either', async t => {
  const { daemon } = await start(t)
  const http = await fetch(`http://127.0.0.1:${daemon.httpPort}/healthz`)
  t.equal(http.status, 200)
  const authorization = `Basic ${btoa(`admin:${password}`)}`
  const place = { host: '127.0.0.1', port: daemon.httpsPort, ca: pem('authority') }
  const path = '/pools/default/bs/default'
  const asking = request({ ...place, path, headers: { authorization } }).end()
  asking.on('error', () => {})
  const [answer] = (await once(asking, 'response')) as [NodeJS.ReadableStream]
  answer.on('error', () => {})
  const [first] = (await once(answer, 'data')) as [Buffer]
  t.match(first.toString(), /"mgmtSSL":\d+/)
  const silent = connectPlainly({ host: '127.0.0.1', port: daemon.httpsPort })
  silent.on('error', () => {})
  await once(silent, 'connect')
  t.equal(await daemon.stop(), 0, 'who does not finish a handshake does not hold it up')
})

t.test('old protocols are refused, and plain HTTP is not talked', async t => {
  const { daemon } = await start(t)
  const legacy = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' } as const
  await t.rejects(page(daemon, '/healthz', { tls: legacy }), { code: /ERR_SSL|EPROTO/ })
  await t.rejects(page(daemon, '/healthz', { tls: { ca: pem('stranger') } }))
  const plain = `http://127.0.0.1:${daemon.httpsPort}/healthz`
  await t.rejects(fetch(plain))
  t.equal(
    (await page(daemon, '/pools', { tls: shown('alice') })).status,
    401,
    'without an authority no certificate counts',
  )
})

t.test('a certificate shows who somebody is, unless a password does', async t => {
  const data = join(t.testdir({ data: {} }), 'data')
  await writeUsers(
    join(data, 'users.json'),
    { name: 'alice', password, roles: ['read[default]'] },
    { name: 'admin', password, roles: ['admin'] },
  )
  const files = ['--tls-certificate', certificateFile('server'), '--tls-key', keyFile('server')]
  const ca = ['--tls-client-ca', certificateFile('authority')]
  const flags = ['--vbuckets', '4', '--https-port', '0', '--tls-port', '0', ...files, ...ca]
  const daemon = await startDaemon(t, { data, flags })
  const scopes = '/pools/default/buckets/default/scopes'
  const form = { name: 'shop' }
  const alice = shown('alice')
  t.equal((await page(daemon, scopes, { tls: alice })).status, 200)
  t.equal((await page(daemon, scopes, { tls: alice, method: 'POST', form })).status, 403)
  const made = { tls: alice, user: 'admin', method: 'POST', form }
  t.equal((await page(daemon, scopes, made)).status, 200, 'the password counts')
  t.equal((await page(daemon, scopes)).status, 401)
  t.equal((await page(daemon, scopes, { user: 'alice' })).status, 200)
  for (const name of ['mailed', 'impostor'] as const) {
    t.equal((await page(daemon, scopes, { tls: shown(name) })).status, 401, name)
  }
  const failed = readFileSync(join(data, 'audit.log'), 'utf8').split('\n')
  t.equal(failed.filter(line => /"login-failed".*"https"/.test(line)).length, 2)
})

t.test('a new certificate is taken over, one that is no good is not', async t => {
  const { daemon, files } = await start(t)
  const subject = async () => {
    const socket = connect({ host: '127.0.0.1', port: daemon.httpsPort, ca: pem('authority') })
    await once(socket, 'secureConnect')
    const { CN } = socket.getPeerCertificate().subject
    socket.destroy()
    return CN
  }
  t.equal(await subject(), 'server')
  writeFileSync(files.key, 'half a k')
  await daemon.line('the certificate cannot be used')
  t.equal(await subject(), 'server')
  install('renewed', t.testdirName)
  await daemon.line('certificate read again')
  t.equal(await subject(), 'renewed')
})
