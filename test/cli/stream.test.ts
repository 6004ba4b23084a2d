import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { CommandLine, runCommandLine } from './command-line.ts'

const daemon = await startDaemon(t, { flags: ['--vbuckets', '16'] })
const client = await KvClient.connect({ port: daemon.port })
t.teardown(() => client.close())
const written = new Map<string, number>()
async function write(from: number, to: number): Promise<void> {
  const keys = Array.from({ length: to - from }, (_, index) => `key-${from + index}`)
  await Promise.all(keys.map((key, index) => client.set(key, `{"n":${from + index}}`)))
  for (const key of keys) written.set(key, (written.get(key) ?? 0) + 1)
}
await write(0, 500)

const keysOf = (changes: Record<string, unknown>[]) => changes.map(({ key }) => String(key)).sort()
const isKey = (from: number, to: number) => (key: string) => {
  const number = Number(key.slice(4))
  return from <= number && number < to
}
const stream = (...words: string[]) => new CommandLine(daemon.port, ['stream', ...words])

t.test('until now: everything there is, one line each', async t => {
  const command = stream('--until-now')
  t.match(await command.finished, { code: 0, stderr: '' })
  const changes = command.changes()
  t.equal(changes.length, 500)
  t.same(keysOf(changes), [...written.keys()].sort())
  const one = changes.find(({ key }) => key === 'key-77')
  t.match(one, { type: 'mutation', value: { n: 77 }, cas: /^\d{19}$/, revno: 1 })
})

t.test('chosen vbuckets, keys only', async t => {
  const command = stream('--until-now', '--vbuckets', '0-2,9', '--keys-only')
  t.match(await command.finished, { code: 0, stderr: '' })
  const vbids = new Set(command.changes().map(({ vbid }) => vbid))
  t.same(vbids, new Set([0, 1, 2, 9]))
  t.ok(command.changes().every(change => !('value' in change)))
})

t.test('from now: only what happens from then on, as it happens', async t => {
  const command = stream('--from-now')
  // What tells that it is there is the first change it sees.
  let attempts = 0
  while (command.lines.length === 0) {
    await client.set('probe', String(attempts++))
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  await client.remove('probe')
  const isEnd = () => command.lines.some(line => line.includes('"deletion"'))
  while (!isEnd()) await command.untilLines(command.lines.length + 1)
  command.process.kill('SIGINT')
  t.match(await command.finished, { code: 0, stderr: '' })
  t.ok(command.changes().every(({ key }) => key === 'probe'))
  const isDeletion = ({ type }: Record<string, unknown>) => type === 'deletion'
  t.match(command.changes().find(isDeletion), { deleteTime: Number })
})

t.test('a resume file: interrupted and started again, every change once', async t => {
  const file = join(t.testdir(), 'position.json')
  const first = stream('--resume-file', file)
  await first.untilLines(501)
  first.process.kill('SIGTERM')
  t.match(await first.finished, { code: 0, stderr: '' })
  const { name } = JSON.parse(readFileSync(file, 'utf8')) as { name: string }
  await write(500, 600)
  const second = stream('--resume-file', file, '--until-now')
  t.match(await second.finished, { code: 0, stderr: '' })
  t.same(keysOf(second.changes()), [...written.keys()].filter(isKey(500, 600)).sort())
  t.equal((JSON.parse(readFileSync(file, 'utf8')) as { name: string }).name, name)
  t.equal(statSync(file).mode & 0o777, 0o600)
  const third = stream('--resume-file', file, '--until-now')
  t.match(await third.finished, { code: 0, stdout: '', stderr: '' })
})

t.test('killed: nothing is missing, the last second may come again', async t => {
  const file = join(t.testdir(), 'position.json')
  const first = stream('--resume-file', file)
  await first.untilLines(601)
  first.process.kill('SIGKILL')
  t.equal((await first.finished).code, 'SIGKILL')
  await write(600, 620)
  const second = stream('--resume-file', file, '--until-now')
  t.match(await second.finished, { code: 0, stderr: '' })
  const seen = new Set(keysOf([...first.changes(), ...second.changes()]))
  t.same(
    [...written.keys()].filter(key => !seen.has(key)),
    [],
  )
})

t.test('a reader that leaves ends it quietly', async t => {
  const command = stream()
  await command.untilLines(1)
  command.process.stdout.destroy()
  // Each line into the closed pipe may be the one that tells; the first gathers in a buffer.
  const writing = setInterval(() => void client.set('noise', 'x'), 20)
  t.teardown(() => clearInterval(writing))
  t.match(await command.finished, { code: 0, stderr: '' })
})

t.test('a daemon that goes away is waited for, and that is said', async t => {
  const other = await startDaemon(t, { flags: ['--vbuckets', '16'] })
  const file = join(other.data, '..', 'position.json')
  const command = new CommandLine(other.port, ['stream', '--resume-file', file])
  const writer = await KvClient.connect({ port: other.port })
  await writer.set('key', 'before')
  await command.untilLines(1)
  await writer.close()
  await other.stop()
  const flags = ['--vbuckets', '16', '--port', String(other.port)]
  const again = await startDaemon(t, { data: other.data, flags })
  const writerAgain = await KvClient.connect({ port: again.port })
  await writerAgain.set('key', 'after')
  await writerAgain.close()
  await command.untilLines(2)
  command.process.kill('SIGINT')
  const { code, stderr } = await command.finished
  t.equal(code, 0)
  t.match(stderr, /^holdfast: connection lost \(.*\)\nholdfast: connected again \(.*\)\n$/)
  t.match(command.changes(), [{ value: 'before' }, { value: 'after' }])
})

t.test('resume files that cannot be used', async t => {
  const folder = t.testdir()
  const file = join(folder, 'position.json')
  const attempt = async (content: string) => {
    writeFileSync(file, content)
    return runCommandLine(daemon.port, ['stream', '--until-now', '--resume-file', file])
  }
  for (const [content, why] of [
    ['', 'it is no JSON'],
    ['null', 'it is no holdfast-stream-resume of version 1'],
    ['{"format":"holdfast-stream-resume","version":1}', 'it has no name'],
  ] as const) {
    const stderr = `holdfast: resume file ${file}: ${why}\n`
    t.match(await attempt(content), { code: 4, stdout: '', stderr })
  }
  const state = { format: 'holdfast-dcp-state', version: 1, bucket: 'other', vbuckets: [] }
  const other = { format: 'holdfast-stream-resume', version: 1, name: 'n', state }
  t.match(await attempt(JSON.stringify(other)), { code: 4, stderr: /belongs to bucket "other"/ })
  mkdirSync(join(folder, 'is-a-folder'))
  const words = ['stream', '--until-now', '--resume-file']
  const onFolder = await runCommandLine(daemon.port, [...words, join(folder, 'is-a-folder')])
  t.match(onFolder, { code: 4, stderr: /EISDIR/ })
  const nowhere = await runCommandLine(daemon.port, [...words, join(folder, 'no', 'such', 'place')])
  t.match(nowhere, { code: 4, stderr: /ENOENT/ })
})
