/** Small vbuckets share objects: these are as whole, and as resumable, as others are. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KvClient } from '../../src/client/index.ts'
import type { DataObject } from '../../src/backup/archive/documents.ts'
import type { Secret } from '../../src/backup/archive/repository-key.ts'
import { unfinishedDetailsOf } from '../../src/backup/details.ts'
import { examine } from '../../src/backup/examine/examine.ts'
import { merge } from '../../src/backup/merge/merge.ts'
import { Repository } from '../../src/backup/repository.ts'
import type { BackupEvent } from '../../src/backup/run/context.ts'
import { backUp, type BackupOptions } from '../../src/backup/run/backup.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { verify } from '../../src/backup/verify/verify.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { readIndependently } from './independent-reader.ts'
import { altered } from './s3-scene.ts'
import { byKey, documentsOf, writeDocuments } from './scene.ts'
import { collect } from './store-suite.ts'

const vbuckets = 64
const daemon = await startDaemon(t, { flags: ['--vbuckets', String(vbuckets)] })
const client = await KvClient.connect({ port: daemon.port })
t.teardown(() => client.close())
await writeDocuments(client, 0, 800)
/** Of vbucket 0, more than a segment. */
const large = Array.from({ length: 400_000 }, (_, index) => `key-${index}`)
  .filter(key => client.vbucketOf(key) === 0)
  .slice(100, 200)
for (const key of large) await client.set(key, key.padEnd(1000, 'x'))

const { signal } = new AbortController()
const common = { repository: 'r', signal, report: () => {} }

function scene(t: Test) {
  const folder = t.testdir()
  const archive = join(folder, 'archive')
  const staging = join(folder, 'staging')
  const store = new FileStore(archive)
  const events: BackupEvent[] = []
  const run = (more?: Partial<BackupOptions>) =>
    backUp({
      ...common,
      store,
      source: { host: '127.0.0.1', port: daemon.port, bucket: 'default' },
      stagingRoot: staging,
      threads: 1,
      compression: 'none',
      blockBytes: 4096,
      // Some vbuckets of a dozen documents with 300 bytes each.
      segmentBytes: 50_000,
      report: event => events.push(event),
      ...more,
    })
  const manifestOf = async (id: string, secret?: Secret) => {
    const repository = await Repository.open(store, 'r')
    const [backup] = await repository.chosen(id)
    return await repository.manifest(backup!, await repository.openKey(secret))
  }
  const stagedFiles = () =>
    readdirSync(staging, { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.json'))
      .map(name => join(staging, name))
  const actions = (action: string) =>
    events.flatMap(event =>
      event.type === 'vbucket' && event.action === action ? [event.vbid] : [],
    )
  return { archive, staging, store, events, run, manifestOf, stagedFiles, actions }
}
type Scene = ReturnType<typeof scene>

/** Stopped when the first part of a pack is in its journal. */
async function interrupted(t: Test, s: Scene): Promise<void> {
  const stop = new AbortController()
  let parts = 0
  const stopping = altered(s.store, {
    putPart(upload, number, content) {
      if (upload.key.includes('pack') && ++parts === 2) stop.abort(new Error('stopped'))
      return parts === 2
        ? Promise.reject(new Error('stopped'))
        : s.store.putPart(upload, number, content)
    },
  })
  await t.rejects(s.run({ store: stopping, signal: stop.signal }), { message: 'stopped' })
}

/** The journal of the first pack, and a document that the pack has. */
function packed(s: Scene): { path: string; key: string } {
  const [path] = s.stagedFiles().filter(name => name.endsWith('pack-0000.json')) as [string]
  const { objects } = JSON.parse(String(readFileSync(path))) as { objects: { vbid: number }[] }
  const key = Array.from({ length: 800 }, (_, at) => `key-${at}`).find(
    name => client.vbucketOf(name) === objects[0]!.vbid,
  )!
  return { path, key }
}

async function isWhole(t: Test, s: Scene): Promise<void> {
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))
  t.match(await verify({ ...common, store: s.store, samplePercent: 100 }), { damages: 0 })
  const repository = await Repository.open(s.store, 'r')
  const own = new Set(['archive.json', 'r/repository.json'])
  for (const { id, document } of await repository.backups()) {
    const { objects } = await repository.manifest(document!, undefined)
    const names = [document!.manifest.key ?? 'manifest.json', 'backup.json']
    for (const name of [...names, ...objects.map(({ key }) => key)]) own.add(`r/${id}/${name}`)
  }
  t.same(
    (await collect(s.store.list(''))).map(({ key }) => key),
    [...own].sort(),
  )
  t.same(await collect(s.store.listUploads('')), [])
}

const isPacked = ({ offset }: DataObject) => offset !== undefined

t.test('small vbuckets lie together, a larger one has an object of its own', async t => {
  const s = scene(t)
  const full = await s.run()
  const manifest = await s.manifestOf(full.id)
  t.equal(manifest.version, 2)
  const [own, ...packed] = manifest.objects
  t.match(own, { key: 'data/0000', vbid: 0 })
  t.notOk(isPacked(own!))
  t.ok(packed.every(isPacked))
  t.same(new Set(packed.map(({ key }) => key)), new Set(['data/pack-0000']))
  // By vbucket.
  t.same(
    manifest.objects.map(({ vbid }) => vbid),
    [...Array(vbuckets).keys()],
  )
  await isWhole(t, s)

  const found: string[] = []
  const result = await examine({
    ...common,
    store: s.store,
    key: Buffer.from('key-7'),
    found: ({ record }) => Promise.resolve(void found.push(record.value.toString())),
  })
  t.match(result, { versions: 1 })
  t.match(JSON.parse(found[0]!), { number: 7 })

  await writeDocuments(client, 0, 20, 2)
  const second = await s.run()
  t.match(second, { type: 'incremental', counts: { mutation: 20 } })
  t.ok((await s.manifestOf(second.id)).objects.every(isPacked))
  await isWhole(t, s)
})

t.test('a pack that is long is followed by another', async t => {
  const s = scene(t)
  // Two or three vbuckets make a part.
  const full = await s.run({ segmentBytes: 8000, threads: 4 })
  const packed = (await s.manifestOf(full.id)).objects.filter(isPacked)
  t.ok(new Set(packed.map(({ key }) => key)).size > 1)
  await isWhole(t, s)
})

t.test('none, if that is asked for', async t => {
  const s = scene(t)
  const full = await s.run({ packBelow: 0 })
  const manifest = await s.manifestOf(full.id)
  t.equal(manifest.version, 1)
  t.equal(new Set(manifest.objects.map(({ key }) => key)).size, vbuckets)
  await isWhole(t, s)
})

t.test('encrypted, each has a key of its own', async t => {
  const s = scene(t)
  const secret: Secret = { kind: 'passphrase', text: 'open sesame' }
  const full = await s.run({ secret, compression: 'snappy' })
  t.ok((await s.manifestOf(full.id, secret)).objects.some(isPacked))
  const env = { PASSPHRASE: 'open sesame' }
  t.same(byKey(await readIndependently(s.archive, 'r', { env })), await documentsOf(daemon.port))
})

t.test('interrupted: what is in a pack is kept, unless it has changed', async t => {
  const s = scene(t)
  await interrupted(t, s)
  await client.set(packed(s).key, 'changed')
  await writeDocuments(client, 30, 32, 3)
  await client.remove('key-33')
  s.events.length = 0
  const backup = await s.run({ unfinished: 'resume' })
  t.equal(backup.type, 'full')
  t.ok(s.actions('keep').length > 0)
  t.ok(s.actions('restart').length > 0)
  const { objects } = await s.manifestOf(backup.id)
  t.equal(new Set(objects.filter(isPacked).map(({ key }) => key)).size, 2)
  await isWhole(t, s)
})

t.test('what is told of an unfinished backup counts what lies in packs', async t => {
  const s = scene(t)
  const stop = new AbortController()
  const report = (event: BackupEvent) => {
    if (event.type === 'step' && event.step === 'complete') stop.abort(new Error('stopped'))
  }
  await t.rejects(s.run({ signal: stop.signal, report }), { message: 'stopped' })
  const repository = await Repository.open(s.store, 'r')
  const [unfinished] = await repository.backups()
  const details = await unfinishedDetailsOf(repository, unfinished!)
  const { vbuckets, counts, storedBytes } = await s.run({ unfinished: 'resume' })
  t.match(details, { vbuckets, counts, storedBytes })
})

t.test('all of a pack has changed: it is dropped', async t => {
  const s = scene(t)
  await interrupted(t, s)
  await writeDocuments(client, 0, 800, 4)
  await s.run({ unfinished: 'resume' })
  t.same(s.actions('keep'), [])
  await isWhole(t, s)
})

t.test('the staging folder is lost, or the journal of a pack is torn', async t => {
  for (const lose of [
    (s: Scene) => rmSync(s.staging, { recursive: true }),
    (s: Scene) => {
      const pack = s.stagedFiles().find(name => name.includes('pack-'))!
      writeFileSync(pack, readFileSync(pack).subarray(0, 100))
    },
  ]) {
    const s = scene(t)
    await interrupted(t, s)
    lose(s)
    await writeDocuments(client, 40, 42, 5)
    s.events.length = 0
    await s.run({ unfinished: 'resume' })
    t.ok(s.actions('keep').length > 0, 'the checkpoint knows it')
    await isWhole(t, s)
  }
})

t.test('torn, and the checkpoint does not know it: from the beginning', async t => {
  const s = scene(t)
  await interrupted(t, s)
  for (const name of s.stagedFiles().filter(name => name.includes('pack-'))) writeFileSync(name, '')
  const [checkpoint] = (await collect(s.store.list('r/'))).filter(({ key }) =>
    key.endsWith('checkpoint.json'),
  )
  const known = JSON.parse(String(await s.store.get(checkpoint!.key))) as object
  await s.store.put(checkpoint!.key, Buffer.from(JSON.stringify({ ...known, packs: [] })))
  s.events.length = 0
  await s.run({ unfinished: 'resume' })
  t.ok(
    s.events.some(
      event => event.type === 'note' && /pack 0 is torn, and is lost/.test(event.message),
    ),
  )
  await isWhole(t, s)
})

t.test('a checkpoint that is older tells of a vbucket that lies elsewhere by now', async t => {
  const s = scene(t)
  await interrupted(t, s)
  const { path, key } = packed(s)
  const old = readFileSync(path)
  await client.set(key, 'newer')
  const stop = new AbortController()
  const report = (event: BackupEvent) => {
    if (event.type === 'step' && event.step === 'complete') stop.abort(new Error('stopped'))
  }
  const second = s.run({ unfinished: 'resume', signal: stop.signal, report })
  await t.rejects(second, { message: 'stopped' })
  writeFileSync(path, old)
  await s.run({ unfinished: 'resume' })
  await isWhole(t, s)
})

t.test('a store that has lost a pack is given it again', async t => {
  const s = scene(t)
  const stop = new AbortController()
  const report = (event: BackupEvent) => {
    if (event.type === 'step' && event.step === 'complete') stop.abort(new Error('stopped'))
  }
  await t.rejects(s.run({ signal: stop.signal, report }), { message: 'stopped' })
  for (const upload of await collect(s.store.listUploads('')))
    if (upload.key.includes('pack')) await s.store.abortUpload(upload)
  s.events.length = 0
  await s.run({ unfinished: 'resume' })
  t.equal(s.actions('restart').length, vbuckets - 1)
  await isWhole(t, s)
})

t.test('a pack that is cut off is damage', async t => {
  const s = scene(t)
  const full = await s.run()
  const path = join(s.archive, 'r', full.id, 'data/pack-0000')
  const bytes = readFileSync(path)
  writeFileSync(path, bytes.subarray(0, -1))
  t.match(await verify({ ...common, store: s.store, samplePercent: 0 }), { damages: 1 })
  bytes[1000]! ^= 1
  writeFileSync(path, bytes)
  t.match(await verify({ ...common, store: s.store, samplePercent: 100 }), { damages: 1 })
})

t.test('merged, packs go when nobody needs them', async t => {
  const s = scene(t)
  await s.run()
  await writeDocuments(client, 50, 60, 6)
  await s.run()
  await client.remove('key-70')
  await s.run()
  await merge({ ...common, store: s.store, range: { from: '1', to: '3' } })
  await isWhole(t, s)
})
