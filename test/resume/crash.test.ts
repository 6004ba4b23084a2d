/** The daemon is killed in the middle of a backfill: no snapshot is pinned any more. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { DcpClient, KvClient } from '../../src/client/index.ts'
import { FaultyProxy, seededRandom } from '../support/faulty-proxy.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { Copy } from './copy.ts'
import { metric } from './metric.ts'
import { seedOf } from './seed.ts'
import { until } from './until.ts'
import { Workload } from './workload.ts'

t.setTimeout(120_000)
const seed = seedOf(t)
const vbuckets = 16
const kills = 3

t.test('with the defaults a client that comes back needs no rollback', async t => {
  const { copy, rollbacks, model, purged } = await killed(t, [])
  t.same(copy.problems, [])
  t.same(copy.differences(model).slice(0, 5), [], 'the copy equals the bucket')
  t.equal(rollbacks, 0)
  t.equal(copy.repeatedBytes, 0, 'nothing arrived twice')
  t.ok(purged > 0, `${purged} tombstones were purged`)
})

t.test('without purge holds it begins again, and gets everything still', async t => {
  const { copy, rollbacks, model } = await killed(t, ['--purge-hold-max', '0'])
  t.same(copy.problems, [])
  t.same(copy.differences(model).slice(0, 5), [], 'the copy equals the bucket')
  t.ok(rollbacks > 0, `${rollbacks} rollbacks`)
})

/** Kills the daemon over and over, each time when the client has received some more. */
async function killed(t: Test, moreFlags: readonly string[]) {
  const data = join(t.testdir(), 'data')
  const flags = ['--vbuckets', String(vbuckets), '--change-log', '1MiB', '--backfill-slab', '16KiB']
  const start = async () => {
    const daemon = await startDaemon(t, { data, flags: [...flags, ...moreFlags] })
    const kv = await KvClient.connect({ port: daemon.port, bucket: 'default' })
    t.teardown(() => kv.destroy())
    return { daemon, kv }
  }
  const random = seededRandom(seed)
  const write = (kv: KvClient, model?: Map<string, number>) =>
    new Workload({ kv, random, keys: 16_000, valueBytes: [40, 400], model })
  let { daemon, kv } = await start()
  let workload = write(kv)
  // Tombstones early on, which the client will be known to have before the end.
  await workload.load(0, 4_000)
  await workload.delete(4_000)
  await workload.load(4_000)
  await daemon.stop()
  ;({ daemon, kv } = await start())

  const proxy = await FaultyProxy.start({ targetPort: daemon.port })
  t.teardown(() => proxy.close())
  const copy = new Copy({ idleMs: 20 })
  const client = await DcpClient.connect({
    port: proxy.port,
    name: 'survivor',
    bufferBytes: 64 * 1024,
    queueBytesMax: 64 * 1024,
    reconnect: { firstMs: 5, maxMs: 20 },
    onRollback: vbid => copy.rollBack(vbid),
  })
  t.teardown(() => client.close())
  const followed = copy.follow(client)
  let purged = 0
  const purge = async () => {
    const vbids = Array.from({ length: vbuckets }, (_, vbid) => vbid)
    await Promise.all(vbids.map(vbid => kv.compact(vbid, { dropDeletes: true })))
  }
  for (let kill = 1; kill <= kills; kill++) {
    const target = copy.changes + 2_000
    await until(() => copy.changes >= target, 'some more received')
    workload = write(kv, workload.model)
    await workload.update(200)
    await workload.delete(200)
    await purge()
    await persisted(kv)
    purged += (await metric(daemon))('holdfast_bucket_purged_total')
    await daemon.kill()
    ;({ daemon, kv } = await start())
    // Before the client is back everything goes that may.
    await purge()
    proxy.targetPort = daemon.port
  }
  const highSeqnos = await kv.allVbSeqnos()
  await Promise.race([
    until(() => copy.hasReached(highSeqnos), 'everything received', 30_000),
    followed,
  ])
  purged += (await metric(daemon))('holdfast_bucket_purged_total')
  const { rollbacks } = client.statistics()
  await client.close()
  await followed
  return { copy, rollbacks, model: workload.model, purged }
}

async function persisted(kv: KvClient): Promise<void> {
  const highSeqnos = await kv.allVbSeqnos()
  await Promise.all([...highSeqnos].map(([vbid, seqno]) => kv.seqnoPersisted(vbid, seqno)))
}
