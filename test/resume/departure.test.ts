/** A connection with many streams is lost: they are parked in parts, and the client need not wait. */
import t from 'tap'
import type { WireConsumer } from './wire-consumer.ts'
import { WireScene } from './wire-scene.ts'

t.setTimeout(120_000)

const vbuckets = 512
const controls = { backfill_resume: 'true', connection_buffer_size: '20000' }

/** Streams of all vbuckets, from where `before` has come to in each. */
async function streamAll(consumer: WireConsumer, before?: WireConsumer): Promise<void> {
  const answers = Array.from({ length: vbuckets }, (_, vbid) =>
    consumer.stream(vbid, before?.of(vbid).position),
  )
  t.ok((await Promise.all(answers)).every(answer => answer === 'accepted'))
}

t.test('a client that is back at once goes on in every vbucket', async t => {
  const flags = ['--purge-hold-max', '0']
  const scene = await WireScene.make(t, { vbuckets, flags, documents: 40, valueBytes: 200 })
  const first = await scene.open(t, { name: 'client', controls })
  await streamAll(first)
  await first.received(10)
  first.drop()
  const second = await scene.open(t, { name: 'client', controls: { backfill_resume: 'true' } })
  await streamAll(second, first)
  await second.received(scene.records * vbuckets - first.changes)
  t.same([...first.problems, ...second.problems], [])
  for (let vbid = 0; vbid < vbuckets; vbid++) {
    const seqnos = new Set([...first.of(vbid).seqnos, ...second.of(vbid).seqnos])
    if (seqnos.size !== scene.records) t.equal(seqnos.size, scene.records, `vbucket ${vbid}`)
  }
  t.match(await scene.parked(), { parked_snapshots: '0' })
  second.drop()
  await scene.untilGone()
})

t.test('what a client leaves is parked whole, also when the daemon stops meanwhile', async t => {
  const scene = await WireScene.make(t, { vbuckets, documents: 40, valueBytes: 200 })
  const first = await scene.open(t, { name: 'client', controls })
  await streamAll(first)
  await first.received(10)
  const { changes } = first
  first.drop()
  await scene.untilGone()
  const parked = Number((await scene.parked())['parked_snapshots'])
  t.ok(parked > vbuckets / 2, `${parked} snapshots are parked`)

  const second = await scene.open(t, { name: 'client', controls })
  await streamAll(second, first)
  await second.received(changes)
  second.drop()
  await scene.daemon.stop()
  t.same([...first.problems, ...second.problems], [])
})
