/** The stream of one collection among others, over a link that keeps breaking while tombstones go. */
import t from 'tap'
import { DcpClient, isChange, KvClient } from '../../src/client/index.ts'
import { FaultyProxy } from '../support/faulty-proxy.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { seedOf } from './seed.ts'
import { until } from './until.ts'

t.setTimeout(2 * 60_000)

const cuts = 10
const keys = Array.from({ length: 6_000 }, (_, index) => `key-${index}`)
const value = 'v'.repeat(300)

t.test('a filtered backfill goes on where the link was cut, without a rollback', async t => {
  const seed = seedOf(t)
  const purging = ['--purge-age', '0', '--purge-interval', '50ms']
  const memory = ['--change-log', '1MiB', '--commit-interval', '0']
  const daemon = await startDaemon(t, { flags: ['--vbuckets', '4', ...memory, ...purging] })
  const pages = `http://127.0.0.1:${daemon.httpPort}/pools/default/buckets/default/scopes`
  const body = new URLSearchParams({ name: 'fruit' })
  t.ok((await fetch(`${pages}/_default/collections`, { method: 'POST', body })).ok)
  const kv = await KvClient.connect({ port: daemon.port, collections: true })
  t.teardown(() => kv.destroy())
  const fruit = { collection: 'fruit' }
  await Promise.all(keys.flatMap(key => [kv.set(key, value, fruit), kv.set(key, 'default')]))

  const proxy = await FaultyProxy.start({ targetPort: daemon.port, seed })
  t.teardown(() => proxy.close())
  proxy.plan = (connection, random) =>
    connection < cuts ? [{ kind: 'cut', afterBytes: 100_000 + Math.floor(random() * 100_000) }] : []
  const copy = new Map<string, string>()
  let rollbacks = 0
  const client = await DcpClient.connect({
    port: proxy.port,
    name: 'of one collection',
    collections: ['fruit'],
    reconnect: { firstMs: 1, maxMs: 20 },
    onRollback: () => {
      rollbacks++
      copy.clear()
      return 'accept'
    },
  })
  t.teardown(() => client.close())
  const problems: string[] = []
  const follow = async () => {
    for await (const event of client.events()) {
      if (!isChange(event)) continue
      const key = event.key.toString()
      if (event.type === 'mutation') copy.set(key, event.value.toString())
      else copy.delete(key)
      if (event.collection !== '_default.fruit') problems.push(`${event.collection} ${key}`)
    }
  }
  const following = follow()
  // What is deleted and purged while the client is between two cuts must not stay in its copy.
  await Promise.all(keys.slice(0, 1_000).map(key => kv.remove(key, fruit)))
  const left = keys.slice(1_000)
  await until(
    () => copy.size === left.length && left.every(key => copy.get(key) === value),
    () => `a copy, after ${proxy.counters.cut} cuts ${copy.size} documents`,
    60_000,
  )
  t.same([problems, rollbacks], [[], 0])
  t.equal(proxy.counters.cut, cuts)
  await client.close()
  await following
})
