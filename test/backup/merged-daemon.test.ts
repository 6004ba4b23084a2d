/** A merged backup between two daemons: restored like its chain, and gone on from by the next. */
import { join } from 'node:path'
import t from 'tap'
import { merge } from '../../src/backup/merge/merge.ts'
import { restore } from '../../src/backup/restore/restore.ts'
import { backUp } from '../../src/backup/run/backup.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { CollectionManager, KvClient } from '../../src/client/index.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { documentsOf } from './scene.ts'

const source = await startDaemon(t, { flags: ['--vbuckets', '4'] })
const target = await startDaemon(t, { flags: ['--vbuckets', '4'] })
const store = new FileStore(join(t.testdirName, 'archive'))
const connect = async (port: number): Promise<KvClient> => {
  const client = await KvClient.connect({ port, collections: true })
  t.teardown(() => client.close())
  return client
}
const client = await connect(source.port)
const there = await connect(target.port)
const manager = new CollectionManager(client)
const common = {
  store,
  repository: 'r',
  signal: new AbortController().signal,
  report: () => {},
}
const bucketOf = ({ port }: { port: number }) => ({ host: '127.0.0.1', port, bucket: 'default' })
const staging = { stagingRoot: join(t.testdirName, 'staging') }
const backUpNow = () => backUp({ ...common, ...staging, source: bucketOf(source) })
const restoreNow = () => restore({ ...common, ...staging, target: bucketOf(target) })

/** What a restore keeps: all but the seqnos, which are each bucket's own. */
async function keptBy({ port }: { port: number }) {
  const documents = await documentsOf(port)
  return new Map([...documents].map(([key, { seqno: _own, ...kept }]) => [key, kept]))
}

const orders = { collection: 'shop.orders' }
const keys = Array.from({ length: 50 }, (_, index) => `k${index}`)

t.test('a merged backup brings what its chain would have brought', async t => {
  await manager.createScope('shop')
  await manager.createCollection('shop.gone')
  await Promise.all(keys.map(key => client.set(key, `first ${key}`)))
  await Promise.all(keys.map(key => client.set(key, 'lost', { collection: 'shop.gone' })))
  await backUpNow()
  await manager.dropCollection('shop.gone')
  await manager.createCollection('shop.orders')
  await Promise.all(keys.map(key => client.set(key, `order ${key}`, orders)))
  await client.set('k1', 'second')
  await client.remove('k2')
  await backUpNow()
  await client.remove('k3', orders)
  const last = await backUpNow()

  const merged = await merge({ ...common, range: {} })
  t.equal(merged.backup.id, last.id)
  await restoreNow()
  t.same(await keptBy(target), await keptBy(source))
  for (const key of keys) {
    const expected = key === 'k3' ? undefined : `order ${key}`
    t.equal((await there.get(key, orders))?.value.toString(), expected)
  }
  const { scopes } = await new CollectionManager(there).manifest()
  t.same(
    scopes.flatMap(scope => scope.collections.map(({ name }) => `${scope.name}.${name}`)),
    ['_default._default', 'shop.orders'],
  )
})

t.test('the next backup goes on from it', async t => {
  await client.set('k1', 'third')
  await client.set('late', 'x', orders)
  t.match(await backUpNow(), { type: 'incremental', counts: { mutation: 2, deletion: 0 } })
  await restoreNow()
  t.same(await keptBy(target), await keptBy(source))
  t.equal((await there.get('late', orders))?.value.toString(), 'x')
})
