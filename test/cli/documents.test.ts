import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import t from 'tap'
import { startDaemon } from '../support/start-daemon.ts'
import { runCommandLine } from './command-line.ts'

const daemon = await startDaemon(t, { flags: ['--vbuckets', '16'] })
const run = (...words: string[]) => runCommandLine(daemon.port, words)

t.test('set, get and del', async t => {
  t.match(await run('set', 'greeting', 'hello'), { code: 0, stdout: '', stderr: '' })
  t.match(await run('get', 'greeting'), { code: 0, stdout: 'hello', stderr: '' })
  t.match(await run('del', 'greeting'), { code: 0, stdout: '', stderr: '' })
  t.match(await run('get', 'greeting'), {
    code: 1,
    stdout: '',
    stderr: 'holdfast: no such key: greeting\n',
  })
  t.match(await run('del', 'greeting'), { code: 1, stderr: /^holdfast: delete: keyNotFound.*\n$/ })
})

t.test('a value from standard input arrives whole', async t => {
  const value = 'line\n'.repeat(50_000)
  t.match(await runCommandLine(daemon.port, ['set', 'large'], value), { code: 0, stderr: '' })
  const { code, stdout } = await run('get', 'large')
  t.equal(code, 0)
  t.equal(`${stdout}\n`, value)
})

t.test('a CAS that does not fit is refused', async t => {
  await run('set', 'once', 'first', '--durability', 'majority')
  const { code, stderr } = await run('set', 'once', 'second', '--cas', '12345')
  t.equal(code, 1)
  t.match(stderr, /^holdfast: set: keyExists/)
})

t.test('statistics, as text and as JSON', async t => {
  const { code, stdout } = await run('stats')
  t.equal(code, 0)
  t.match(stdout, /^pid \d+$/m)
  const json = JSON.parse((await run('stats', '--json')).stdout) as Record<string, string>
  t.equal(json['pid'], String(daemon.pid))
  t.match(await run('stats', 'nonsense'), { code: 1, stderr: /^holdfast: stat: keyNotFound/ })
})

t.test('mistakes are told in one line', async t => {
  for (const words of [
    ['frobnicate'],
    ['get'],
    ['set', 'key', 'value', '--flags', '-1'],
    ['set', 'key', 'value', '--cas', '1e5'],
    ['set', 'key', 'value', '--durability', 'none'],
    ['-p', '70000', 'get', 'key'],
    ['stream', '--vbuckets', '3-1'],
    ['stream', '--vbuckets', '1,,2'],
    ['stream', '--nonsense'],
    ['stream', '--name', 'x'.repeat(300)],
  ]) {
    const { code, stdout, stderr } = await run(...words)
    t.equal(code, 2, words.join(' '))
    t.match(stderr, /^holdfast: [^\n]+\n$/)
    t.equal(stdout, '')
  }
})

t.test('help and version', async t => {
  t.match(await run('--version'), { code: 0, stdout: /^\d+\.\d+\.\d+/, stderr: '' })
  t.match(await run('stream', '--help'), { code: 0, stdout: /--resume-file/, stderr: '' })
})

t.test('nobody there, and a bucket that is not there', async t => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  t.match(await runCommandLine(port, ['get', 'key']), {
    code: 3,
    stderr: /^holdfast: cannot connect to 127\.0\.0\.1:\d+: .*ECONNREFUSED[^\n]*\n$/,
  })
  t.match(await run('--bucket', 'nowhere', 'get', 'key'), {
    code: 1,
    stderr: /^holdfast: selectBucket: [^\n]+\n$/,
  })
})
