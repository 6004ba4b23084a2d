/** What somebody keeps secret stays where it was given: in the environment, in a file. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { runCommandLine } from '../cli/command-line.ts'
import type { ConfigError } from '../../src/config/config-error.ts'
import { loadConfiguration } from '../../src/config/load.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { runDaemon } from './run-daemon.ts'

t.setTimeout(240_000)

const secret = 'swordfish'

/** Whatever is shown, in whatever form a password goes about. */
function isKept(t: Test, what: string, shown: string): void {
  const forms = [secret, 'admin:swordfish', '\0admin\0swordfish'].flatMap(text => [
    text,
    Buffer.from(text).toString('base64'),
    Buffer.from(text).toString('hex'),
  ])
  t.notOk(
    forms.some(form => shown.includes(form)),
    what,
  )
}

t.test('a settings file that cannot be used is not quoted', async t => {
  const folder = t.testdir()
  for (const [name, text] of Object.entries({
    'broken.json': `{"port": 0, "admin-password": ${secret}}`,
    'cut.json': `{"admin-password": "${secret}`,
    'unknown.json': `{"admin-password": "${secret}"}`,
    'text.json': `"${secret}"`,
    'unknown.yaml': `port: 0\nadmin-password: ${secret}\n`,
    'nested.yaml': `s3:\n  secret: ${secret}\n`,
    'twice.yaml': `admin-password: ${secret}\nadmin-password: ${secret}\n`,
    'alias.yaml': `admin-password: *${secret}\n`,
    'tag.yaml': `admin-password: !${secret} ${secret}\n`,
    'indent.yaml': `admin-password: ${secret}: ${secret}\n`,
    'quote.yaml': `admin-password: "${secret}\n`,
    'bare.yaml': `${secret}\n`,
  })) {
    const path = join(folder, name)
    writeFileSync(path, text)
    try {
      loadConfiguration(['--config', path], {}, () => {})
      t.fail(`${name} is taken`)
    } catch (error) {
      const { message, hint, cause } = error as ConfigError
      t.match(message, /^[^\n]+$/, 'in one line')
      isKept(t, name, `${message} ${hint} ${String(cause)}`)
    }
  }
  // What a parser would say by itself, on standard error.
  const { code, stdout, stderr } = await runDaemon(['--config', join(folder, 'tag.yaml')])
  t.equal(code, 2)
  t.match(stderr, /^holdfastd: [^\n]+\n$/)
  isKept(t, 'tag.yaml', stdout + stderr)
})

t.test('nor is an environment with a variable that is none', async t => {
  const environment = { HOLDFAST_ADMIN_PASWORD: secret, HOLDFAST_SECRET: secret }
  const { code, stdout, stderr } = await runDaemon([], environment)
  t.equal(code, 2)
  t.match(stderr, /unknown setting HOLDFAST_ADMIN_PASWORD/)
  isKept(t, 'refused', stdout + stderr)
})

const environment = {
  HOLDFAST_ADMIN_PASSWORD: secret,
  HOLDFAST_PASSWORD: secret,
  HOLDFAST_NEW_PASSWORD: secret,
  HOLDFAST_PASSPHRASE: secret,
  AWS_SECRET_ACCESS_KEY: secret,
}

t.test('--check-config tells settings only', async t => {
  const { code, stdout, stderr } = await runDaemon(['--check-config'], environment)
  t.equal(code, 0)
  t.match(stdout, /backfill-grace/)
  isKept(t, 'settings', stdout + stderr)
})

t.test('no page, statistic, log or map of a daemon has what its environment has', async t => {
  const daemon = await startDaemon(t, { environment, flags: ['--log-level', 'debug'] })
  const credentials = { username: 'admin', password: secret }
  const kv = await KvClient.connect({ port: daemon.port, credentials })
  t.teardown(() => kv.destroy())
  const groups = ['', 'settings', 'items', 'timings', 'vbucket', 'vbucket-details', 'dcp', 'parked']
  groups.push('vbucket-seqno', 'failovers', 'collections', 'collections-details', 'scopes')
  for (const group of groups) {
    isKept(t, `STAT ${group}`, JSON.stringify([...(await kv.stats(group))]))
  }
  isKept(t, 'map', JSON.stringify(await kv.clusterConfig()))
  const authorization = `Basic ${btoa(`admin:${secret}`)}`
  const pools = [
    '/pools',
    '/pools/default',
    '/pools/default/nodeServices',
    '/pools/default/buckets',
  ]
  const pages = ['/', '/healthz', '/readyz', '/metrics', ...pools]
  pages.push('/pools/default/b/default', '/pools/default/buckets/default/scopes')
  pages.push('/settings', '/settings/web', '/diag', `/${secret.length}`, '/internalSettings')
  for (const page of pages) {
    for (const method of ['GET', 'POST']) {
      const url = `http://127.0.0.1:${daemon.httpPort}${page}`
      const response = await fetch(url, { method, headers: { authorization } })
      const headers = JSON.stringify([...response.headers])
      isKept(t, `${method} ${page}`, headers + (await response.text()))
    }
  }
  const url = `http://127.0.0.1:${daemon.httpPort}/pools/default/buckets`
  const odd = await fetch(url, { method: 'POST', headers: { authorization }, body: 'a=b' })
  isKept(t, 'refused', await odd.text())
  t.equal(await daemon.stop(), 0)
  t.match(daemon.stderr.join(), /logged in/)
  isKept(t, 'log', daemon.stdout.join() + daemon.stderr.join())
  isKept(t, 'audit log', readFileSync(join(daemon.data, 'audit.log'), 'utf8'))
  isKept(t, 'users', readFileSync(join(daemon.data, 'users.json'), 'utf8'))
})

t.test('the command line does not repeat it, whatever goes wrong', async t => {
  const daemon = await startDaemon(t, { environment: { HOLDFAST_ADMIN_PASSWORD: 'another' } })
  const archive = join(t.testdirName, 'archive')
  const s3 = ['--archive', `s3://bucket/path`, '--endpoint', `http://127.0.0.1:1`]
  for (const words of [
    ['get', 'k', '--user', 'admin'],
    ['stats', '--user', 'admin'],
    ['stream', '--user', 'admin'],
    ['backup', '--archive', archive, '--user', 'admin'],
    ['info', '--archive', archive],
    ['info', ...s3],
    ['user', 'passwd', 'nobody', '--data', daemon.data],
    ['user', 'list', '--data', daemon.data],
    ['no-such-command'],
  ]) {
    const more = { ...environment, AWS_ACCESS_KEY_ID: 'id', AWS_MAX_ATTEMPTS: '1', HOME: archive }
    const { code, stdout, stderr } = await runCommandLine(daemon.port, words, '', more)
    if (words[1] !== 'list') t.not(code, 0, words.join(' '))
    isKept(t, words.join(' '), stdout + stderr)
  }
  t.equal(await daemon.stop(), 0)
  isKept(t, 'log', daemon.stderr.join())
  isKept(t, 'audit log', readFileSync(join(daemon.data, 'audit.log'), 'utf8'))
})
