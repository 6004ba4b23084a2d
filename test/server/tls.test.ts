import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { connect as connectByTls, type ConnectionOptions } from 'node:tls'
import t, { type Test } from 'tap'
import { KvClient } from '../../src/client/index.ts'
import type { TlsOptions } from '../../src/client/socket.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { saslMechanisms } from '../../protocol/sasl/index.ts'
import { Status } from '../../protocol/status.ts'
import type { TlsFiles } from '../../src/server/certificate.ts'
import { KeptAudit, type TestUser } from '../support/access.ts'
import { certificateFile, install, pem, shown } from '../support/certificates.ts'
import { eventually, serve, TestClient, type ServedOptions } from './harness.ts'

const password = 'secret'
const users: TestUser[] = [
  { name: 'alice', password, roles: ['read[default]', 'write[default]'] },
  { name: 'bob@example.org', password, roles: ['read[default]'] },
]

async function serveByTls(t: Test, options: ServedOptions = {}, clientCa?: 'authority') {
  const served = await serve(t, options)
  const files: TlsFiles = {
    ...install('server', t.testdirName),
    clientCa: clientCa && certificateFile(clientCa),
  }
  const { port: tlsPort } = await served.server.listenByTls('127.0.0.1', 0, files)
  const client = async (tls: TlsOptions = {}, name?: string) => {
    const credentials = name === undefined ? {} : { credentials: { username: name, password } }
    const whole = { ca: pem('authority'), ...tls }
    const opened = await KvClient.connect({ port: tlsPort, tls: whole, ...credentials })
    t.teardown(() => opened.close())
    return opened
  }
  return { ...served, files, tlsPort, byTls: client }
}

/** How a handshake ends: the protocol agreed on, or the error. */
async function handshake(port: number, options: ConnectionOptions): Promise<string> {
  const socket = connectByTls({ host: '127.0.0.1', port, ca: pem('authority'), ...options })
  try {
    await once(socket, 'secureConnect')
    return socket.getProtocol() ?? ''
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  } finally {
    socket.destroy()
  }
}

t.test('documents of every size come and go by TLS, and many at a time', async t => {
  const { byTls } = await serveByTls(t)
  const client = await byTls()
  const values = [0, 1, 1000, 65_536, 100_000, 1_000_000].map(length => Buffer.alloc(length, 'v'))
  await Promise.all(values.map((value, index) => client.set(`k${index}`, value)))
  const read = await Promise.all(values.map((_, index) => client.get(`k${index}`)))
  t.same(
    read.map(document => document?.value.length),
    values.map(value => value.length),
  )
  t.ok(values.every((value, index) => read[index]!.value.equals(value)))
  const many = Array.from({ length: 10_000 }, (_, index) => client.set(`m${index}`, String(index)))
  await Promise.all(many)
  t.equal((await client.get('m9999'))?.value.toString(), '9999')
})

t.test('a client that does not read makes the server wait, not grow', async t => {
  const { tlsPort, server } = await serveByTls(t)
  const socket = connectByTls({ host: '127.0.0.1', port: tlsPort, ca: pem('authority') })
  t.teardown(() => socket.destroy())
  await once(socket, 'secureConnect')
  const slow = TestClient.over(socket)
  const value = Buffer.alloc(500_000, 'v')
  await slow.call({ opcode: Opcode.set, key: 'large', value, extras: Buffer.alloc(8) })
  socket.pause()
  const reads = 100
  for (let read = 0; read < reads; read++) slow.send({ opcode: Opcode.get, key: 'large' })
  await eventually(() => server.budget.totalBytes > 0)
  t.ok(server.budget.totalBytes < 8 * 2 ** 20)
  socket.resume()
  const answers = await slow.take(reads)
  t.ok(answers.every(({ valueLength }) => valueLength === 500_000))
})

t.test('logging in works as on the plain port, with all mechanisms', async t => {
  const settings = { saslMechanisms: ['SCRAM-SHA512'] as const }
  const { byTls, client } = await serveByTls(t, { users, settings })
  const plain = await (await client()).call({ opcode: Opcode.saslListMechs })
  t.equal(plain.value().toString(), 'SCRAM-SHA512')
  const one = await byTls({}, 'alice')
  await one.set('k', 'v')
  const list = await one.request({ opcode: Opcode.saslListMechs })
  t.equal(list.value().toString(), saslMechanisms.join(' '))
  await t.rejects(byTls({}, 'bob'), { code: 'HOLDFAST_STATUS', status: Status.authError })
  await t.rejects(byTls(), { message: /accessDenied/ })
})

t.test('a server that cannot be trusted is not talked to', async t => {
  const { byTls } = await serveByTls(t)
  await t.rejects(byTls({ ca: pem('stranger') }), { code: 'HOLDFAST_CONNECT' })
  await t.rejects(byTls({ servername: 'other.example' }), { code: 'HOLDFAST_CONNECT' })
})

t.test('old protocols and weak ciphers are refused', async t => {
  const { tlsPort } = await serveByTls(t)
  const legacy = { minVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' } as const
  t.equal(await handshake(tlsPort, {}), 'TLSv1.3')
  t.equal(await handshake(tlsPort, { maxVersion: 'TLSv1.2' }), 'TLSv1.2')
  for (const maxVersion of ['TLSv1.1', 'TLSv1'] as const) {
    t.match(await handshake(tlsPort, { ...legacy, maxVersion }), /ERR_SSL/, maxVersion)
  }
  for (const ciphers of ['AES128-SHA', 'ECDHE-ECDSA-AES128-SHA', 'ECDHE-ECDSA-AES128-SHA256']) {
    const answer = await handshake(tlsPort, { maxVersion: 'TLSv1.2', ciphers })
    t.match(answer, /ERR_SSL/, ciphers)
  }
})

t.test('neither port takes what is for the other', async t => {
  const { port, tlsPort } = await serveByTls(t)
  t.match(await handshake(port, {}), /ERR_SSL|ECONNRESET|Error/)
  const socket = connect({ host: '127.0.0.1', port: tlsPort })
  socket.on('error', () => {})
  const plain = TestClient.over(socket)
  plain.send({ opcode: Opcode.noop })
  await plain.closed()
  t.equal(plain.waiting, 0)
})

t.test('a new certificate is taken over, one that is no good is not', async t => {
  const { server, files, tlsPort, byTls } = await serveByTls(t)
  const subject = async () => {
    const socket = connectByTls({ host: '127.0.0.1', port: tlsPort, ca: pem('authority') })
    await once(socket, 'secureConnect')
    const { CN } = socket.getPeerCertificate().subject
    socket.destroy()
    return CN
  }
  const before = await byTls()
  t.equal(await subject(), 'server')
  install('renewed', t.testdirName)
  server.reloadCertificates()
  t.equal(await subject(), 'renewed')
  await before.set('k', 'v')
  writeFileSync(files.key, 'half a k')
  server.reloadCertificates()
  t.equal(await subject(), 'renewed')
  install('server', t.testdirName)
  server.reloadCertificates()
  t.equal(await subject(), 'server')
})

t.test('files that are no certificate and key are refused at the start', async t => {
  const { server, files } = await serveByTls(t)
  const wrong = { ...files, key: files.certificate }
  await t.rejects(server.listenByTls('127.0.0.1', 0, wrong), { code: 'tls-unusable' })
  const missing = { ...files, certificate: '/nowhere/node.pem' }
  await t.rejects(server.listenByTls('127.0.0.1', 0, missing), { code: 'tls-unusable' })
})

t.test('a certificate logs in the user it names, and nobody else', async t => {
  const audit = new KeptAudit()
  const { byTls } = await serveByTls(t, { users, audit }, 'authority')
  const alice = await byTls(shown('alice'))
  await alice.set('k', 'v')
  const bob = await byTls(shown('mailed'))
  t.equal((await bob.get('k'))?.value.toString(), 'v')
  await t.rejects(bob.set('k', 'w'), { message: /accessDenied/ })
  t.match(audit.of('login'), [{ user: 'alice', via: 'kv-tls' }, { user: 'bob@example.org' }])
  await t.rejects(byTls(shown('impostor')), { code: /HOLDFAST_CONNECT/ })
  await t.rejects(byTls(shown('server')), { code: /HOLDFAST_CONNECT/ })
  t.match(audit.of('login-failed'), [
    { user: 'alice', reason: /UNABLE_TO|UNABLE|SELF_SIGNED/ },
    { user: 'server', reason: 'no such user' },
  ])
  const byPassword = await byTls({}, 'alice')
  t.equal((await byPassword.get('k'))?.value.toString(), 'v')
})

t.test('who does not finish a handshake is cut off, and does not hold up the stop', async t => {
  const settings = { loginTimeoutSeconds: 0.2 }
  const { tlsPort } = await serveByTls(t, { settings })
  const silent = connect({ host: '127.0.0.1', port: tlsPort })
  silent.on('error', () => {})
  silent.resume()
  await once(silent, 'close')
  const later = await serveByTls(t)
  const waiting = connect({ host: '127.0.0.1', port: later.tlsPort })
  waiting.on('error', () => {})
  waiting.resume()
  await once(waiting, 'connect')
  await later.server.close({ graceMs: 0 })
  if (!waiting.closed) await once(waiting, 'close')
  t.pass('closed')
})
