/** Backups of a bucket with collections. */
import { dirname, join } from 'node:path'
import t from 'tap'
import { CollectionManager, KvClient } from '../../src/client/index.ts'
import { encodeDocument, sha256Of, type Manifest } from '../../src/backup/archive/documents.ts'
import { examine } from '../../src/backup/examine/examine.ts'
import { backUp } from '../../src/backup/run/backup.ts'
import { Repository } from '../../src/backup/repository.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { readIndependently } from './independent-reader.ts'

const daemon = await startDaemon(t, { flags: ['--vbuckets', '4'] })
const client = await KvClient.connect({ port: daemon.port, collections: true })
t.teardown(() => client.close())
const manager = new CollectionManager(client)

const folder = dirname(daemon.data)
const store = new FileStore(join(folder, 'archive'))
const notes: string[] = []
const backUpNow = () =>
  backUp({
    store,
    repository: 'r',
    source: { host: '127.0.0.1', port: daemon.port, bucket: 'default' },
    stagingRoot: join(folder, 'staging'),
    signal: new AbortController().signal,
    report: event => {
      if (event.type === 'note') notes.push(event.message)
    },
  })
const manifestOf = async (backup: Awaited<ReturnType<typeof backUp>>) =>
  (await Repository.open(store, 'r')).manifest(backup, undefined)

/** The newest version of each document in the archive, as `collection id:key`. */
async function documents(): Promise<string[]> {
  const found = await readIndependently(join(folder, 'archive'), 'r')
  return found.map(({ collection, key }) => `${collection}:${key}`).sort()
}

t.test('documents are backed up with their collection, and the manifest of those', async t => {
  await manager.createScope('shop')
  await manager.createCollection('shop.orders', { maxTtlSeconds: 1000 })
  await manager.createCollection('shop.baskets')
  const keys = Array.from({ length: 40 }, (_, index) => `k${index}`)
  for (const collection of ['_default._default', 'shop.orders', 'shop.baskets']) {
    await Promise.all(keys.map(key => client.set(key, `${key} in ${collection}`, { collection })))
  }
  const full = await backUpNow()
  t.match(full, { type: 'full', counts: { mutation: 120 } })
  const expected = [0, 8, 9].flatMap(id => keys.map(key => `${id}:${key}`))
  t.same(await documents(), expected.sort())
  t.same((await manifestOf(full)).collections, {
    uid: '3',
    scopes: [
      { name: '_default', uid: '0', collections: [{ name: '_default', uid: '0' }] },
      {
        name: 'shop',
        uid: '8',
        collections: [
          { name: 'orders', uid: '8', maxTTL: 1000 },
          { name: 'baskets', uid: '9' },
        ],
      },
    ],
  })
})

t.test('the versions of a document of a collection, by its name or its id', async t => {
  const look = async (collection: string | number) => {
    const found: string[] = []
    await examine({
      store,
      repository: 'r',
      key: Buffer.from('k7'),
      collection,
      signal: new AbortController().signal,
      found: ({ record }) => Promise.resolve(void found.push(record.value.toString())),
    })
    return found
  }
  t.same(await look('shop.orders'), ['k7 in shop.orders'])
  t.same(await look(9), ['k7 in shop.baskets'])
  t.same(await look('_default._default'), ['k7 in _default._default'])
  await t.rejects(look('shop.none'), { code: 'missing', message: /no collection shop\.none/ })
  await t.rejects(look('a.b.c'), RangeError)
})

t.test('what has changed since, in collections that have come and gone, too', async t => {
  await manager.dropCollection('shop.orders')
  await manager.createCollection('shop.late')
  await client.set('new', 'x', { collection: 'shop.late' })
  await client.remove('k0', { collection: 'shop.baskets' })
  const second = await backUpNow()
  t.match(second, { type: 'incremental', counts: { mutation: 1, deletion: 1 } })
  const found = await documents()
  t.ok(found.includes('10:new'))
  t.notOk(found.includes('9:k0'))
  t.ok(found.includes('9:k1'))
  t.equal(found.filter(document => document.startsWith('8:')).length, 0)
  const collections = (await manifestOf(second)).collections!
  t.equal(collections.uid, '5')
  t.same(
    collections.scopes[1]!.collections.map(({ name, uid }) => `${name} ${uid}`),
    ['baskets 9', 'late a'],
  )
  const nothing = await backUpNow()
  t.match(nothing, { type: 'incremental', counts: { mutation: 0, deletion: 0 } })
})

t.test('a backup of the default collection alone is followed by a full one', async t => {
  const repository = await Repository.open(store, 'r')
  const last = (await repository.backups()).at(-1)!.document!
  const { collections: _dropped, ...manifest }: Manifest = await repository.manifest(
    last,
    undefined,
  )
  const bytes = encodeDocument(manifest)
  const key = `${repository.prefix(last.id)}manifest.json`
  await store.put(key, bytes)
  const listed = { ...last.manifest, size: bytes.length, sha256: sha256Of(bytes) }
  const document = { ...last, manifest: listed }
  await store.put(`${repository.prefix(last.id)}backup.json`, encodeDocument(document))
  t.match(await backUpNow(), { type: 'full' })
  t.match(notes, [/has the default collection alone: making a full one/])
})
