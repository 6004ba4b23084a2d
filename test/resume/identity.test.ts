/** Who is recognised as the one that was there before. */
import t from 'tap'
import { until } from './until.ts'
import { beginning } from './wire-consumer.ts'
import { WireScene } from './wire-scene.ts'

t.setTimeout(120_000)

/** A window, so that a connection is lost in the middle of its backfill. */
const window = { connection_buffer_size: '65536' }

t.test('identity', async t => {
  const scene = await WireScene.make(t, {
    vbuckets: 4,
    flags: ['--purge-hold-max', '0', '--backfill-resume-default', 'true'],
  })
  const { end, records } = scene

  /** Comes back under the next name as often as it takes; resolves with what arrived. */
  const follow = async (names: readonly string[], vbid: number, controls: typeof window) => {
    let position = beginning
    const seqnos: number[] = []
    for (const name of names) {
      const consumer = await scene.open(t, { name, controls })
      t.equal(await consumer.stream(vbid, position), 'accepted', name)
      await consumer.received(Math.min(40, records - seqnos.length))
      const received = consumer.of(vbid)
      t.same(received.markers, [[0, end]])
      t.same(consumer.problems, [])
      seqnos.push(...received.seqnos)
      position = received.position
      consumer.drop()
      await scene.untilParked(1)
      t.ok((await scene.purge(vbid)) > position.seqno, 'purged beyond the client')
    }
    t.equal(new Set(seqnos).size, seqnos.length, 'nothing came twice')
    const last = await scene.open(t, { name: 'last', controls: without(controls) })
    t.equal(await last.stream(vbid, position), 'accepted')
    await last.received(records - seqnos.length)
    t.equal(last.of(vbid).position.seqno, end)
    await last.quit()
    await scene.untilParked(0)
  }

  t.test('a client that does not ask is recognised by what it presents', async t => {
    await follow(['a-5163', 'a-2210', 'a-9127'], 0, window)
    t.same(scene.logged('client has to roll back'), [])
  })

  t.test('an id of its own recognises a client whose names change', async t => {
    const controls = { ...window, backfill_resume: '{"id":"indexer","grace":30}' }
    await follow(['i-1', 'i-2', 'i-3'], 1, controls)
    t.same(scene.logged('client has to roll back'), [])
  })

  t.test('who presents something else gets nothing of it', async t => {
    const owner = await scene.open(t, { name: 'owner', controls: window })
    t.equal(await owner.stream(2), 'accepted')
    await owner.received(40)
    owner.drop()
    await scene.untilParked(1)
    await until(async () => (await scene.purge(2)) > 100, 'purged')
    const { position } = owner.of(2)
    const other = await scene.open(t, { name: 'other', controls: window })
    t.equal(await other.stream(2, { ...position, snapshotEnd: end - 1 }), 0)
    await other.quit()
    t.match(await scene.parked(), { parked_snapshots: '1' }, 'and disturbs nothing')
    const back = await scene.open(t, { name: 'renamed', controls: {} })
    t.equal(await back.stream(2, position), 'accepted')
    await back.received(records - owner.changes)
    await back.quit()
  })

  t.test('who asks not to be resumable is not', async t => {
    const controls = { ...window, backfill_resume: 'false' }
    const plain = await scene.open(t, { name: 'plain', controls })
    t.equal(await plain.stream(3), 'accepted')
    await plain.received(40)
    plain.drop()
    await until(async () => (await scene.pins()) === 0, 'released')
    t.match(await scene.parked(), { parked_snapshots: '0' })
    await scene.purge(3)
    const back = await scene.open(t, { name: 'plain', controls })
    t.equal(await back.stream(3, plain.of(3).position), 0)
    await back.quit()
  })
})

/** The same, without a window: everything comes. */
function without(controls: Record<string, string>): Record<string, string> {
  const { connection_buffer_size: _, ...rest } = controls
  return rest
}
