import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { CommandLine, type Finished } from '../cli/command-line.ts'
import { FaultyProxy } from '../support/faulty-proxy.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { readIndependently } from './independent-reader.ts'
import { byKey, documentsOf, writeDocuments } from './scene.ts'

const daemon = await startDaemon(t, { flags: ['--vbuckets', '32'] })
const client = await KvClient.connect({ port: daemon.port })
t.teardown(() => client.close())
await Promise.all(
  Array.from({ length: 320 }, (_, index) =>
    client.set(`big-${index}`, randomBytes(50_000 + index)),
  ),
)
await writeDocuments(client, 0, 1000)

interface Scene {
  archive: string
  staging: string
  start(...words: string[]): CommandLine
  run(...words: string[]): Promise<Finished>
}

function scene(t: Test, port = daemon.port, env: NodeJS.ProcessEnv = {}): Scene {
  const folder = t.testdir()
  const archive = join(folder, 'archive')
  const staging = join(folder, 'staging')
  const start = (...words: string[]) => {
    const [command, ...rest] = words
    const options = ['--archive', archive, ...(command === 'info' ? [] : ['--repo', 'r'])]
    if (command === 'backup') options.push('--staging', staging)
    return new CommandLine(port, [command!, ...options, ...rest], env)
  }
  return { archive, staging, start, run: (...words) => start(...words).finished }
}

const backupsIn = (archive: string) =>
  readdirSync(join(archive, 'r')).filter(name => !name.endsWith('.json'))

/** The journals of the only unfinished backup. */
function journalsIn(staging: string): string[] {
  const found = readdirSync(staging, { recursive: true, encoding: 'utf8' })
  return found.filter(name => /vb-\d+\.json$/.test(name)).map(name => join(staging, name))
}

/** Stops a backup by `signal` in the middle of its stream, when some vbuckets are done. */
async function interrupted(
  t: Test,
  s: Scene,
  signal: NodeJS.Signals,
): Promise<Finished & { afterMs: number }> {
  // A link that stalls behind half of the bytes: whatever the machine's speed, this is the middle.
  const stall = { kind: 'stall', afterBytes: 8_000_000, durationMs: 600_000 } as const
  const proxy = await FaultyProxy.start({ targetPort: daemon.port, plan: () => [stall] })
  t.teardown(() => proxy.close())
  const words = ['--archive', s.archive, '--repo', 'r', '--staging', s.staging, '--json']
  // A journal for each vbucket tells how far it is.
  const command = new CommandLine(proxy.port, ['backup', ...words, '--pack-below', '0'])
  t.teardown(() => command.process.kill('SIGKILL'))
  while (!existsSync(s.staging) || journalsIn(s.staging).length < 8)
    await new Promise(resolve => setTimeout(resolve, 2))
  const signalledMs = performance.now()
  command.process.kill(signal)
  const finished = await command.finished
  return { ...finished, afterMs: performance.now() - signalledMs }
}

t.test('a backup from the command line, and what info says of it', async t => {
  const s = scene(t)
  const first = await s.run('backup')
  t.match(first, { code: 0, stdout: /^000001-\S+ full: 1320 mutations, 0 deletions/ })
  t.match(first.stdout, /, at most \d.* of memory$/)
  t.match(first.stderr, /full backup 000001-/)
  await writeDocuments(client, 0, 10, 2)
  const second = await s.run('backup', '--json')
  t.match(second, { code: 0, stderr: '' })
  const lines = second.stdout.split('\n').map(line => JSON.parse(line) as { type: string })
  t.match(lines[0], { type: 'backup', kind: 'incremental' })
  t.match(lines.at(-1), {
    type: 'complete',
    backup: { counts: { mutation: 10 } },
    memoryBytes: Number,
  })
  const info = await s.run('info')
  t.match(info, { code: 0, stderr: '' })
  t.match(
    info.stdout,
    /^r: bucket default, not encrypted, compression snappy, made 20\S+Z\nbackup /,
  )
  t.match(info.stdout, /\n000001-\S+ +complete +full +20\S+Z +\d+s +32 +1320 +0 +0 /)
  const json = JSON.parse((await s.run('info', '--json')).stdout) as object
  t.match(json, { repositories: [{ name: 'r', backups: [{ type: 'full', complete: true }, {}] }] })
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))
})

t.test('Ctrl-C ends it soon, and it is resumed', async t => {
  const s = scene(t)
  const { code, stderr, afterMs } = await interrupted(t, s, 'SIGINT')
  t.equal(code, 5)
  t.match(stderr, /--resume/)
  // A second on a machine that has nothing else to do.
  t.ok(afterMs < 5000, `it took ${Math.round(afterMs)} ms`)
  t.notOk(existsSync(join(s.archive, 'r/lock.json')))
  t.match(await s.run('backup'), { code: 6, stderr: /--resume .* --purge/ })
  t.match((await s.run('info')).stdout, /000001-\S+ +unfinished +full +20\S+Z +\d/)
  const details = (await s.run('info', '--details')).stdout
  t.match(details, /000001-\S+: unfinished\n.*\n {2}runs +1, next step: stream$/s)
  const resumed = await s.run('backup', '--resume')
  t.match(resumed, { code: 0, stderr: /vbucket \d+: (keep|go-on): / })
  t.equal(backupsIn(s.archive).length, 1)
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))
})

t.test('killed, its lock is taken over, and it is resumed', async t => {
  const s = scene(t)
  t.equal((await interrupted(t, s, 'SIGKILL')).code, 'SIGKILL')
  t.ok(existsSync(join(s.archive, 'r/lock.json')))
  await writeDocuments(client, 500, 600, 3)
  await client.remove('big-7')
  t.match(await s.run('backup', '--resume'), { code: 0 })
  t.equal(backupsIn(s.archive).length, 1)
  t.same(readdirSync(join(s.archive, '.uploads')), [])
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))
})

t.test('a link that breaks again and again costs time only', async t => {
  const cut = { kind: 'cut', afterBytes: 1_500_000 } as const
  const proxy = await FaultyProxy.start({ targetPort: daemon.port, plan: () => [cut] })
  t.teardown(() => proxy.close())
  const s = scene(t, proxy.port)
  const finished = await s.run('backup')
  t.match(finished, { code: 0, stdout: /^000001-\S+ full/ })
  t.ok(proxy.counters.cut > 5, `${proxy.counters.cut} cuts`)
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))
})

t.test('with the staging folder lost it goes on from the checkpoint', async t => {
  const s = scene(t)
  await interrupted(t, s, 'SIGTERM')
  rmSync(s.staging, { recursive: true })
  const resumed = await s.run('backup', '--resume')
  t.match(resumed, { code: 0, stderr: /staging folder is lost/ })
  t.match(resumed.stderr, /vbucket \d+: (keep|go-on)/)
  t.same(readdirSync(join(s.archive, '.uploads')), [])
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))
})

t.test('a torn journal costs its vbucket at most', async t => {
  const s = scene(t)
  await interrupted(t, s, 'SIGKILL')
  const [journal, other] = journalsIn(s.staging) as [string, string]
  writeFileSync(journal, readFileSync(journal).subarray(0, 100))
  writeFileSync(other, '')
  const resumed = await s.run('backup', '--resume')
  t.match(resumed, { code: 0, stderr: /journal of vbucket \d+ is torn/ })
  t.same(readdirSync(join(s.archive, '.uploads')), [])
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))
})

t.test('two at once: one works, the other says who does', async t => {
  const s = scene(t)
  const one = s.start('backup', '--json')
  const [line] = (await once(one.process.stdout, 'data')) as [Buffer]
  t.match(String(line), /"backup"/)
  one.process.kill('SIGSTOP')
  const other = await s.run('backup')
  t.match(other, { code: 8, stderr: /locked: backup, process \d+ on / })
  const waiting = s.start('backup', '--lock-timeout', '60')
  one.process.kill('SIGCONT')
  t.match(await one.finished, { code: 0 })
  t.match(await waiting.finished, { code: 0, stdout: /^000002-\S+ incremental/ })
  t.match(await s.run('unlock'), { code: 0, stdout: 'it was not locked' })
})

t.test('one whose lock was taken away stops before it is complete', async t => {
  const s = scene(t)
  const one = s.start('backup', '--json')
  await once(one.process.stdout, 'data')
  one.process.kill('SIGSTOP')
  t.match(await s.run('unlock'), { code: 0, stdout: /^unlocked; it was: backup, process/ })
  one.process.kill('SIGCONT')
  t.match(await one.finished, { code: 8, stderr: /taken away/ })
  t.match((await s.run('info')).stdout, /unfinished/)
  t.match(await s.run('backup', '--purge'), { code: 0 })
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))
})

t.test('errors say what is wrong, and with which exit code', async t => {
  const s = scene(t)
  const keyFile = join(t.testdirName, 'key')
  t.match(await s.run('backup', '--key-file', keyFile), { code: 9, stderr: /key file/ })
  t.match(await s.run('backup', '--resume', '--purge'), { code: 2, stderr: /not both/ })
  t.match(await s.run('info'), { code: 1, stderr: /no archive/ })
  writeFileSync(keyFile, 'ab'.repeat(32))
  t.match(await s.run('backup', '--key-file', keyFile), { code: 0 })
  t.match(await s.run('backup'), { code: 9, stderr: /needs a key file/ })
  writeFileSync(keyFile, 'cd'.repeat(32))
  t.match(await s.run('backup', '--key-file', keyFile), { code: 9, stderr: /not the key/ })
  // Without the key, too, one sees what is there.
  t.match(await s.run('info'), { code: 0, stdout: /encrypted with key [0-9a-f]{16}/ })
  await client.createBucket('other')
  t.match(await s.run('backup', '--key-file', keyFile, '--bucket', 'other'), { code: 9 })
  writeFileSync(keyFile, 'ab'.repeat(32))
  const other = await s.run('backup', '--key-file', keyFile, '--bucket', 'other')
  t.match(other, { code: 11, stderr: /is of bucket default .* not of other/ })
  writeFileSync(join(s.archive, 'archive.json'), '{}')
  t.match(await s.run('info'), { code: 11, stderr: /format or version unknown/ })
  writeFileSync(join(s.archive, 'archive.json'), 'x')
  t.match(await s.run('info'), { code: 10, stderr: /no JSON/ })
})
