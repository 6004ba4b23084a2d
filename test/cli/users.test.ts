import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startDaemon } from '../support/start-daemon.ts'
import { runCommandLine } from './command-line.ts'

t.setTimeout(3 * 60_000)

t.test('users are added, changed, listed and removed in a folder without a daemon', async t => {
  const data = t.testdir()
  const user = (words: string[], input = '', env: NodeJS.ProcessEnv = {}) =>
    runCommandLine(1, ['user', ...words, '--data', data], input, env)
  const wrong = await user(['add', 'app', '--role', 'read[*]'], 'pw\n')
  t.equal(wrong.code, 1)
  t.match(wrong.stderr, /no user with the role admin \[last-admin\]/)
  t.same(await user(['add', 'root', '--role', 'admin'], 'first\nsecond\n'), {
    code: 0,
    stdout: '',
    stderr: '',
  })
  const env = { HOLDFAST_NEW_PASSWORD: 'from the environment' }
  const roles = ['--role', 'read[*]', '--role', 'write[default]']
  t.equal((await user(['add', 'app', ...roles], '', env)).code, 0)
  t.match((await user(['add', 'app'], 'x')).stderr, /\[user-exists\]/)
  t.equal((await user(['list'])).stdout, 'root\tadmin\napp\tread[*] write[default]')
  t.equal((await user(['roles', 'app', '--role', 'dcp[b]'])).code, 0)
  t.equal((await user(['passwd', 'app'], 'another')).code, 0)
  t.match((await user(['passwd', 'nobody'], 'x')).stderr, /\[user-unknown\]/)
  t.match((await user(['passwd', 'app'], '')).stderr, /\[password-unusable\]/)
  t.match((await user(['add', 'x', '--role', 'root'], 'x')).stderr, /\[role-unknown\].+monitor/)
  t.match((await user(['remove', 'root'])).stderr, /\[last-admin\]/)
  t.equal((await user(['list'])).stdout, 'root\tadmin\napp\tdcp[b]')
  t.equal((await user(['remove', 'app'])).code, 0)
  t.equal((await user(['list'])).stdout, 'root\tadmin')
  const file = readFileSync(join(data, 'users.json'), 'utf8')
  t.notMatch(file, /first|second|environment/)
})

t.test('commands log in, and a running daemon takes over what is changed', async t => {
  const daemon = await startDaemon(t, { environment: { HOLDFAST_ADMIN_PASSWORD: 'one' } })
  const run = (words: string[], env: NodeJS.ProcessEnv, input = '') =>
    runCommandLine(daemon.port, words, input, { HOLDFAST_DATA: daemon.data, ...env })
  const as = (user: string, password: string) => ({
    HOLDFAST_USER: user,
    HOLDFAST_PASSWORD: password,
  })
  t.match(await run(['set', 'k', 'v'], as('admin', 'one')), { code: 0 })
  t.match(await run(['get', 'k'], {}), { code: 1, stderr: /selectBucket: accessDenied/ })
  t.match(await run(['get', 'k'], as('admin', 'two')), { code: 1, stderr: /authError/ })
  const added = daemon.line('"added":["app"]')
  await run(['user', 'add', 'app', '--role', 'dcp[default]'], {}, 'app')
  await added
  const stream = await run(['stream', '--until-now', '--from-now'], as('app', 'app'))
  t.match(stream, { code: 0 }, stream.stderr)
  t.match(await run(['get', 'k'], as('app', 'app')), { code: 1, stderr: /get: accessDenied/ })
})
