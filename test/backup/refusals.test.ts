/** What is wrong is said with its exit code, and nothing that is there is lost by it. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { runCommandLine, type Finished } from '../cli/command-line.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { readIndependently } from './independent-reader.ts'
import { byKey, documentsOf, writeDocuments } from './scene.ts'

const daemon = await startDaemon(t, { flags: ['--vbuckets', '8'] })
const client = await KvClient.connect({ port: daemon.port })
t.teardown(() => client.close())
await writeDocuments(client, 0, 200)
const documents = await documentsOf(daemon.port)

const archive = join(t.testdirName, 'archive')
const files = ['right', 'wrong', 'malformed'].map(name => join(t.testdirName, name))
const [right, wrong, malformed] = files as [string, string, string]
writeFileSync(right, 'ab'.repeat(32))
writeFileSync(wrong, 'cd'.repeat(32))
writeFileSync(malformed, 'short')

type Environment = Record<string, string>

function run(words: string[], env: Environment = {}, port = daemon.port): Promise<Finished> {
  const [command = '', repo = '', ...rest] = words
  const place = ['--archive', archive, ...(command === 'info' ? [] : ['--repo', repo])]
  const state = ['backup', 'restore'].includes(command)
    ? ['--staging', join(t.testdirName, 'staging')]
    : []
  return runCommandLine(port, [command, ...place, ...state, ...rest], '', env)
}

const words = { HOLDFAST_PASSPHRASE: 'correct horse' }
await run(['backup', 'by-file', '--key-file', right])
await run(['backup', 'by-words'], words)
await run(['backup', 'open'])

/** Each repository is as it was: with its key every document is found. */
async function nothingIsLost(t: Test): Promise<void> {
  const env = { PASSPHRASE: words.HOLDFAST_PASSPHRASE }
  t.same(byKey(await readIndependently(archive, 'by-words', { env })), documents)
  t.same(byKey(await readIndependently(archive, 'open')), documents)
  t.match(await run(['verify', 'by-file', '--key-file', right]), { code: 0, stdout: / 0 damages/ })
}

t.test('a key or passphrase that is missing, wrong, of the other kind, or for nothing', async t => {
  const cases: readonly [string[], Environment, RegExp][] = [
    [['by-file'], {}, /is encrypted: it needs a key file/],
    [['by-words'], {}, /is encrypted: it needs a passphrase/],
    [
      ['by-file', '--key-file', wrong],
      {},
      /this is not the key of the repository \([0-9a-f]{16}\)/,
    ],
    [['by-words'], { HOLDFAST_PASSPHRASE: 'wrong' }, /this is not the key of the repository/],
    [['by-file'], words, /with a key file, not the other way/],
    [['by-words', '--key-file', right], {}, /with a passphrase, not the other way/],
    [['open', '--key-file', right], {}, /repository open is not encrypted/],
    [['by-file', '--key-file', malformed], {}, /32 bytes, or 64 hexadecimal digits/],
    [['by-file', '--key-file', `${right}.lost`], {}, /key file: ENOENT/],
  ]
  for (const [index, [rest, env, stderr]] of cases.entries())
    // What a key is needed for asks for it in one way: each case is shown by one of them.
    t.match(await run([['restore', 'verify', 'backup'][index % 3]!, ...rest], env), {
      code: 9,
      stderr,
    })
  // Nor was anything restored, and what needs no key still goes.
  t.match(await run(['info', '']), { code: 0, stdout: /by-words: bucket default, encrypted/ })
  await nothingIsLost(t)
})

t.test('with the right one, of either kind, it is restored', async t => {
  for (const [repo, env, more] of [
    ['by-file', {}, ['--key-file', right]],
    ['by-words', words, []],
  ] as const) {
    const target = await startDaemon(t, { flags: ['--vbuckets', '4'] })
    t.match(await run(['restore', repo, ...more], env, target.port), {
      code: 0,
      stdout: /200 changes/,
    })
    t.equal((await documentsOf(target.port)).size, 200)
    await target.stop()
  }
})

t.test('a bucket of the same name in another cluster has another archive', async t => {
  const other = await startDaemon(t, { flags: ['--vbuckets', '8'] })
  const stderr = /repository open is of bucket default \(.+\), not of default \(.+\): use another/
  for (const more of [[], ['--full'], ['--resume'], ['--purge']])
    t.match(await run(['backup', 'open', ...more], {}, other.port), { code: 11, stderr })
  t.notMatch((await run(['info', ''])).stdout, /unfinished/)
  await nothingIsLost(t)
})

t.test('a repository stays as it was made', async t => {
  const stderr = /was made with compression snappy, not deflate: leave it out/
  t.match(await run(['backup', 'open', '--compression', 'deflate']), { code: 11, stderr })
  t.match(await run(['backup', 'open', '--compression', 'snappy']), { code: 0 })
  await nothingIsLost(t)
})

t.test('vbuckets that are not there any more', async t => {
  await client.setVbucketState(3, VbucketState.dead)
  const refused = await run(['backup', 'open'])
  t.match(refused, { code: 11, stderr: /vbucket 3 of the last backup is not here/ })
  t.match(await run(['restore', 'open']), { code: 1, stderr: /no node serves vbucket 3 of bucket/ })
  await client.setVbucketState(3, VbucketState.active)
  t.match(await run(['backup', 'open', '--resume']), { code: 0 })
  await nothingIsLost(t)
})

t.test('a bucket made again, other settings: an unfinished backup is not gone on with', async t => {
  const bucket = ['--bucket', 'again']
  await client.createBucket('again')
  const other = await KvClient.connect({ port: daemon.port, bucket: 'again' })
  await writeDocuments(other, 0, 100)
  const before = await documentsOf(daemon.port, 'again')
  const key = ['--key-file', right]
  t.match(await run(['backup', 'again', ...bucket, ...key]), { code: 0 })
  await other.setVbucketState(3, VbucketState.dead)
  t.match(await run(['backup', 'again', ...bucket, ...key]), { code: 11 })
  await other.close()
  await client.deleteBucket('again')
  await client.createBucket('again', 'max_vbuckets=4')

  const settings: readonly [string[], number, RegExp][] = [
    [key, 6, /is unfinished: --resume goes on/],
    [['--resume', '--key-file', wrong], 9, /this is not the key/],
    [['--resume'], 9, /it needs a key file/],
    [['--resume', '--compression', 'none', ...key], 11, /made with compression snappy/],
    [['--resume', ...key], 11, /is of bucket again \(.+\), not of again \(.+\): use another/],
    [['--purge', ...key], 11, /is of bucket again/],
    [['--purge', '--full', ...key], 11, /is of bucket again/],
    // Nor has what was refused dropped it.
    [['--full', ...key], 6, /is unfinished: --resume goes on/],
  ]
  for (const [more, code, stderr] of settings)
    t.match(await run(['backup', 'again', ...bucket, ...more]), { code, stderr })
  // Into the new one it is restored as it was.
  const restored = await run(['restore', 'again', ...bucket, ...key])
  t.match(restored, { code: 0, stdout: /100 changes/ })
  const values = (documents: typeof before) =>
    new Map([...documents].map(([name, { value, cas, revno }]) => [name, { value, cas, revno }]))
  t.same(values(await documentsOf(daemon.port, 'again')), values(before))
  await nothingIsLost(t)
})

t.test('a bucket or an archive that is not there, or is something else', async t => {
  t.match(await run(['restore', 'open', '--bucket', 'none']), {
    code: 1,
    stderr: /there is no bucket none at /,
  })
  t.match(await run(['restore', 'none']), { code: 1, stderr: /no repository none/ })
  t.match(await run(['restore', 'open', '--to', '77']), {
    code: 1,
    stderr: /no complete backup 77/,
  })
  t.match(await run(['restore', 'open', '--key-pattern', '(']), { code: 2, stderr: /expression/ })
  const copy = join(t.testdir(), 'copy')
  cpSync(archive, copy, { recursive: true })
  const path = join(copy, 'open/repository.json')
  writeFileSync(path, readFileSync(path, 'utf8').replace('"version": 1', '"version": 2'))
  const place = ['--archive', copy, '--repo', 'open', '--staging', join(copy, 'staging')]
  for (const command of ['backup', 'restore'])
    t.match(await runCommandLine(daemon.port, [command, ...place]), {
      code: 11,
      stderr: /format or version unknown here/,
    })
})
