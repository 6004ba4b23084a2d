import { randomUUID } from 'node:crypto'
import { dirname, join } from 'node:path'
import { writeFileSync } from 'node:fs'
import t from 'tap'
import { CollectionManager, KvClient } from '../../src/client/index.ts'
import { runCommandLine } from '../cli/command-line.ts'
import { startDaemon } from '../support/start-daemon.ts'

const daemon = await startDaemon(t, { flags: ['--vbuckets', '4'] })
const client = await KvClient.connect({ port: daemon.port, collections: true })
t.teardown(() => client.close())
const manager = new CollectionManager(client)
await manager.createScope('shop')
await manager.createCollection('shop.orders', { maxTtlSeconds: 1000 })

const archive = join(dirname(daemon.data), 'archive')
const keyFile = join(dirname(daemon.data), 'key')
writeFileSync(keyFile, 'ab'.repeat(32))

const run = async (...words: string[]) => {
  const finished = await runCommandLine(daemon.port, words, '', { HOLDFAST_ARCHIVE: archive })
  if (finished.code !== 0) throw new Error(`${words.join(' ')}: ${finished.stderr}`)
  return finished.stdout
}
const backUp = (repo: string, ...words: string[]) =>
  run('backup', '--repo', repo, '--staging', join(dirname(daemon.data), 'staging'), ...words)

/** The only key of each vbucket, so that it is known what there is. */
const keys = [0, 1, 2, 3].map(vbid => {
  for (let number = 0; ; number++)
    if (client.vbucketOf(`key-${number}`) === vbid) return `key-${number}`
})
for (const key of keys) await client.set(key, 'value'.repeat(20))
await backUp('first', '--key-file', keyFile)
await client.set(keys[2]!, 'again')
await client.remove(keys[2]!)
await client.set(keys[2]!, 'and again')
await client.remove(keys[2]!)
await backUp('first', '--key-file', keyFile)
await backUp('second', '--compression', 'none')

t.test('all of an archive, a row for each backup; no key is needed', async t => {
  const lines = (await run('info')).split('\n')
  t.match(lines, [
    /^first: bucket default, encrypted with key [0-9a-f]{16}, compression snappy, made 20\S+Z$/,
    /^backup +state +type +began +took +vbuckets +mutations +deletions +expirations +documents +stored$/,
    /^000001-\S+ +complete +full +20\S+Z +\ds +4 +4 +0 +0 +\d+ B +[\d.]+ \w+$/,
    /^000002-\S+ +complete +incremental +20\S+Z +\ds +4 +0 +1 +0 +\d+ B +[\d.]+ \w+$/,
    /^second: bucket default, not encrypted, compression none, made /,
    /^backup /,
    /^000001-\S+ +complete +full /,
  ])
})

t.test('all about one backup, and about its vbuckets', async t => {
  const text = await run('info', '--repo', 'first', '--backup', '2')
  const [head, ...lines] = text.split('\n')
  t.match(head, /^first: bucket default/)
  t.match(lines, [
    /^000002-\S+: complete$/,
    /^ {2}type +incremental, continues 000001-/,
    /^ {2}began +20\S+Z, took \ds$/,
    /^ {2}vbuckets +4$/,
    /^ {2}changes +0 mutations, 1 deletion, 0 expirations$/,
    /^ {2}bytes +\d+ B of keys and values, stored in \d+ B$/,
    /^ {2}objects +1, of 1 segment$/,
    // What was overwritten has left its seqnos.
    /^ {2}seqnos +\d to \d; \d+ in all vbuckets together$/,
    /^ {2}collections +_default\._default, shop\.orders \(expiry 1000 s\); of manifest 2$/,
  ])
  const table = (await run('info', '--repo', 'first', '--vbuckets')).split('\n')
  const rows = table.slice(-4)
  t.match(rows[2], /^2 +\d +\d +\d +\d-\d +\d{5,20} +0 +1 +0 +\d+ B +\d+ B$/)
  t.match(rows[3], /^3 +\d +\d-\d +\d{5,20}$/)
  const usage = await runCommandLine(1, ['info', '--archive', archive, '--backup', '2'])
  t.match(usage, { code: 2, stderr: /--backup needs --repo/ })
})

t.test('the same as JSON', async t => {
  const read = async (...words: string[]) =>
    JSON.parse(await run('info', '--json', ...words)) as {
      repositories: { backups: { details?: { vbuckets?: object[] } }[] }[]
    }
  const all = await read()
  t.match(all, {
    archive,
    repositories: [
      {
        name: 'first',
        compression: 'snappy',
        encryption: /^[0-9a-f]{16}$/,
        bucket: { name: 'default' },
        backups: [{ type: 'full' }, { type: 'incremental', counts: { deletion: 1 }, vbuckets: 4 }],
      },
      { name: 'second', compression: 'none', backups: [{ state: 'complete', complete: true }] },
    ],
  })
  t.equal(all.repositories[0]!.backups[0]!.details, undefined)
  const detailed = (await read('--repo', 'first', '--backup', '2')).repositories[0]!.backups[0]!
  t.match(detailed, {
    vbuckets: 4,
    details: { objects: 1, segments: 1, collections: { scopes: [{}, { name: 'shop' }] } },
  })
  t.equal(detailed.details!.vbuckets, undefined)
  const whole = (await read('--repo', 'first', '--vbuckets')).repositories[0]!.backups
  t.equal(whole.length, 2)
  t.match(whole[1]!.details!.vbuckets![2], {
    vbid: 2,
    failoverLog: [{ vbuuid: String, seqno: 0 }],
    object: { key: 'data/pack-0000', counts: { deletion: 1 } },
  })
})

t.test('an archive without repositories', async t => {
  const archive = join(t.testdirName, 'empty')
  const created = '2026-01-02T03:04:05.000Z'
  const document = { format: 'holdfast-backup-archive', version: 1, id: randomUUID(), created }
  t.testdir({ empty: { 'archive.json': JSON.stringify(document) } })
  const none = await runCommandLine(1, ['info', '--archive', archive])
  t.match(none, { code: 0, stdout: 'there is no repository in it' })
})
