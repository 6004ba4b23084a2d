/**
 * Several streams of one vbucket on a connection, told apart by their ids, over a link that breaks: each
 * is kept, and goes on, for itself. All that may be purged is purged meanwhile.
 */
import t, { type Test } from 'tap'
import { FaultyProxy } from '../support/faulty-proxy.ts'
import { seedOf } from './seed.ts'
import { until } from './until.ts'
import { beginning } from './wire-consumer.ts'
import { WireScene } from './wire-scene.ts'

t.setTimeout(2 * 60_000)

const controls = { enable_stream_id: 'true', backfill_resume: 'true' }
// What is held must be held by the snapshots themselves.
const flags = ['--purge-hold-max', '0']
const ids = [3, 9, 65535]

async function throughProxy(t: Test, scene: WireScene): Promise<FaultyProxy> {
  const proxy = await FaultyProxy.start({ targetPort: scene.daemon.port, seed: seedOf(t) })
  t.teardown(() => proxy.close())
  return proxy
}

t.test('each goes on where it was, in the snapshot that it was in', async t => {
  const scene = await WireScene.make(t, { vbuckets: 1, flags })
  const { end, records, tombstones } = scene
  const proxy = await throughProxy(t, scene)
  const open = (more: Record<string, string> = {}) =>
    scene.open(t, { name: 'indexer', controls: { ...controls, ...more }, port: proxy.port })
  const first = await open({ connection_buffer_size: '131072' })
  for (const id of ids) t.equal(await first.stream(0, beginning, id), 'accepted')
  // Not before that: the answer to a request may come behind the changes of another stream.
  first.readMax = 60
  await first.received(60)
  const before = ids.map(id => ({ ...first.of(0, id).position }))
  const begun = ids.filter((_, which) => before[which]!.seqno > 0)
  t.ok(begun.length > 0)
  proxy.cutNow()
  await scene.untilParked(ids.length)
  await scene.delete(0, 30)
  await scene.update(0, 1)
  t.ok((await scene.purge(0)) > Math.min(...before.map(({ seqno }) => seqno)), 'purged beyond')

  const second = await open()
  for (const [which, id] of ids.entries()) {
    t.equal(await second.stream(0, before[which], id), 'accepted', `stream ${id}`)
  }
  const isThere = (id: number) => second.of(0, id).position.seqno > end
  await until(() => ids.every(isThere), 'all of every stream')
  for (const [which, id] of ids.entries()) {
    const all = [...first.of(0, id).seqnos, ...second.of(0, id).seqnos]
    const inSnapshot = all.filter(seqno => seqno <= end)
    t.equal(inSnapshot.length, records, `stream ${id} has every record once`)
    t.ok(second.of(0, id).seqnos[0]! > before[which]!.seqno, 'nothing comes twice')
    t.same(second.of(0, id).markers[0], [0, end], `stream ${id} is in its snapshot`)
    t.equal(first.of(0, id).deletions + second.of(0, id).deletions, tombstones + 30)
  }
  t.same(second.problems, [])
  t.same(scene.logged('client has to roll back'), [])
  await second.quit()
})

t.test('a snapshot is not given to another id', async t => {
  const scene = await WireScene.make(t, { vbuckets: 1, flags })
  const proxy = await throughProxy(t, scene)
  const open = () => scene.open(t, { name: 'indexer', controls, port: proxy.port })
  const first = await open()
  first.readMax = 60
  t.equal(await first.stream(0, beginning, 3), 'accepted')
  await first.received(60)
  const { position } = first.of(0, 3)
  proxy.cutNow()
  await scene.untilParked(1)
  await scene.delete(0, 30)
  await scene.update(0, 1)
  await until(async () => (await scene.purge(0)) > position.seqno, 'purged beyond')
  const second = await open()
  t.equal(await second.stream(0, position, 4), 0, 'back to zero')
  t.equal(await second.stream(0, position, 3), 'accepted')
  await second.quit()
})

t.test('over a link that keeps breaking', async t => {
  const scene = await WireScene.make(t, { vbuckets: 2, flags })
  const proxy = await throughProxy(t, scene)
  const cuts = 8
  proxy.plan = (_, random) =>
    proxy.counters.cut < cuts
      ? [{ kind: 'cut', afterBytes: 60_000 + Math.floor(random() * 100_000) }]
      : []
  const streams = [0, 1].flatMap(vbid =>
    ids.map(id => ({ vbid, id, position: { ...beginning }, seqnos: [] as number[] })),
  )
  const isWhole = () => streams.every(({ position }) => position.seqno >= scene.end)
  while (!isWhole()) {
    const consumer = await scene.open(t, { name: 'indexer', controls, port: proxy.port })
    // A request that a cut leaves unanswered is made anew, on the next connection.
    const opening = Promise.allSettled(
      streams.map(({ vbid, id, position }) => consumer.stream(vbid, position, id)),
    )
    const has = ({ vbid, id }: { vbid: number; id: number }) =>
      consumer.of(vbid, id).position.seqno >= scene.end
    await until(() => consumer.isClosed || streams.every(has), 'a cut, or all of every stream')
    for (const outcome of await opening) {
      if (outcome.status === 'fulfilled') t.equal(outcome.value, 'accepted')
    }
    for (const stream of streams) {
      const { position, seqnos } = consumer.of(stream.vbid, stream.id)
      stream.position = position
      stream.seqnos.push(...seqnos)
    }
    t.same(consumer.problems, [])
    consumer.drop()
  }
  for (const { vbid, id, seqnos } of streams) {
    const what = `vbucket ${vbid}, stream ${id} has every record once`
    t.same([seqnos.length, new Set(seqnos).size], [scene.records, scene.records], what)
  }
  t.ok(proxy.counters.cut >= cuts, `${proxy.counters.cut} cuts`)
  t.same(scene.logged('client has to roll back'), [])
})
