/** What becomes of scopes and collections when a backup is restored. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { CollectionManager, KvClient } from '../../src/client/index.ts'
import { CollectionRoutes, selectCollections } from '../../src/backup/restore/collection-routes.ts'
import { restore, type RestoreOptions } from '../../src/backup/restore/restore.ts'
import { backUp } from '../../src/backup/run/backup.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { runCommandLine } from '../cli/command-line.ts'
import { startDaemon } from '../support/start-daemon.ts'

const source = await startDaemon(t, { flags: ['--vbuckets', '4'] })
const archive = join(t.testdirName, 'archive')
const store = new FileStore(archive)
const staging = join(t.testdirName, 'staging')
const client = await KvClient.connect({ port: source.port, collections: true })
t.teardown(() => client.close())
const manager = new CollectionManager(client)
await manager.createScope('shop')
await manager.createScope('other')
for (const name of ['gone', 'orders', 'baskets'])
  await manager.createCollection(`shop.${name}`, { maxTtlSeconds: name === 'orders' ? 1000 : 0 })
await manager.createCollection('other.things')
const keys = Array.from({ length: 30 }, (_, index) => `k${index}`)
const all = ['_default._default', 'other.things', 'shop.baskets', 'shop.gone', 'shop.orders']
for (const collection of all)
  await Promise.all(keys.map(key => client.set(key, `${key} in ${collection}`, { collection })))

const backUpNow = () =>
  backUp({
    store,
    repository: 'r',
    source: { host: '127.0.0.1', port: source.port, bucket: 'default' },
    stagingRoot: staging,
    signal: new AbortController().signal,
    report: () => {},
  })
const first = await backUpNow()
await manager.dropCollection('shop.gone')
await client.set('k0', 'changed', { collection: 'shop.orders' })
await backUpNow()

/** A bucket whose collections have other ids than those of the source. */
async function target(t: Test) {
  const daemon = await startDaemon(t, { flags: ['--vbuckets', '8'] })
  const there = await KvClient.connect({ port: daemon.port, collections: true })
  t.teardown(() => there.close())
  const manager = new CollectionManager(there)
  await manager.createScope('mine')
  for (const name of ['a', 'b', 'c']) await manager.createCollection(`mine.${name}`)
  const bring = (more: Partial<RestoreOptions> = {}) =>
    restore({
      store,
      repository: 'r',
      target: { host: '127.0.0.1', port: daemon.port, bucket: 'default' },
      stagingRoot: staging,
      signal: new AbortController().signal,
      report: () => {},
      ...more,
    })
  const valueOf = async (collection: string, key: string) =>
    (await there.get(key, { collection }))?.value.toString()
  const names = async () =>
    (await manager.manifest()).scopes.flatMap(({ name, collections }) =>
      collections.map(collection => `${name}.${collection.name}`),
    )
  return { daemon, manager, bring, valueOf, names }
}

t.test('documents come into the collections of the same names, which are made', async t => {
  const { bring, manager, valueOf, names } = await target(t)
  t.match(await bring(), { applied: 121, filtered: 30 })
  const made = ['shop.orders', 'shop.baskets', 'other.things']
  t.same(await names(), ['_default._default', 'mine.a', 'mine.b', 'mine.c', ...made])
  for (const collection of made) t.equal(await valueOf(collection, 'k7'), `k7 in ${collection}`)
  t.equal(await valueOf('_default._default', 'k7'), 'k7 in _default._default')
  t.equal(await valueOf('shop.orders', 'k0'), 'changed')
  const { scopes } = await manager.manifest()
  const orders = scopes.flatMap(({ collections }) => collections).find(c => c.name === 'orders')
  t.equal(orders?.maxTtlSeconds, 1000)
  t.match(await bring(), { applied: 0, skipped: 121, filtered: 30 }, 'and again')
})

t.test('as of a backup in which a collection was still there', async t => {
  const { bring, valueOf } = await target(t)
  t.match(await bring({ to: first.id }), { applied: 150, filtered: 0 })
  t.equal(await valueOf('shop.gone', 'k7'), 'k7 in shop.gone')
})

t.test('some of them, and into others', async t => {
  const { bring, daemon, valueOf, names } = await target(t)
  const options = { scopes: ['other'], collections: ['shop.orders', '_default'] }
  const collectionMap = ['shop.orders=mine.b', '_default=mine.c']
  t.match(await bring({ ...options, collectionMap }), { applied: 91, filtered: 60 })
  t.notOk((await names()).includes('shop.baskets'))
  t.equal(await valueOf('mine.b', 'k0'), 'changed')
  t.equal(await valueOf('mine.c', 'k3'), 'k3 in _default._default')
  t.equal(await valueOf('_default._default', 'k3'), undefined)
  const words = ['restore', '--archive', archive, '--repo', 'r', '--staging', staging]
  const more = ['--scope', 'shop', '--map-collection', 'shop.baskets=mine.a']
  const { code, stdout } = await runCommandLine(daemon.port, [...words, ...more])
  t.equal(code, 0)
  t.match(stdout, /61 changes applied, 0 skipped .*, 90 not asked for/)
  t.equal(await valueOf('mine.a', 'k9'), 'k9 in shop.baskets')
})

t.test('what cannot be is said before anything is done', async t => {
  const selecting = (selection: Parameters<typeof selectCollections>[1]) => () =>
    selectCollections(undefined, selection)
  t.throws(selecting({ scopes: ['nowhere'] }), {
    code: 'missing',
    message: /collection nowhere in/,
  })
  t.throws(selecting({ collections: ['a.b.c'] }), { name: 'RangeError' })
  t.throws(selecting({ collectionMap: ['a=b=c'] }), { name: 'RangeError', message: /FROM=TO/ })
  const mapped = selectCollections(undefined, { collectionMap: ['_default=a.b'] })
  await t.rejects(CollectionRoutes.open(mapped, client, false), {
    code: 'refused',
    message: 'the server has no collections, so no a.b either',
  })
})
