/**
 * Clients that do not know of `backfill_resume` may repeat a stream request from where they were before,
 * though they have acknowledged more since. All that may be purged is purged meanwhile.
 */
import t, { type Test } from 'tap'
import { metric } from './metric.ts'
import { until } from './until.ts'
import type { Position, WireConsumer } from './wire-consumer.ts'
import { WireScene } from './wire-scene.ts'

t.setTimeout(280_000)

const controls = { connection_buffer_size: '65536' }
const unasked = ['--backfill-resume-default', 'true']

/** Takes and acknowledges all up to a seqno. */
async function takeAll(consumer: WireConsumer, vbid: number, seqno: number): Promise<void> {
  let acknowledged = 0
  await until(
    () => {
      if (consumer.bytes > acknowledged) consumer.acknowledge(consumer.bytes - acknowledged)
      acknowledged = consumer.bytes
      return consumer.of(vbid).position.seqno >= seqno
    },
    () => `everything up to ${seqno}, ${consumer.of(vbid).position.seqno} by now`,
  )
  if (consumer.bytes > acknowledged) consumer.acknowledge(consumer.bytes - acknowledged)
}

/**
 * A client that is cut in the middle of its backfill, comes back and takes all the rest; resolves with where
 * it was at the cut.
 */
async function receiveAll(t: Test, scene: WireScene, vbid: number) {
  const first = await scene.open(t, { name: `first ${vbid}`, controls })
  t.equal(await first.stream(vbid), 'accepted')
  await first.received(40)
  const before = { ...first.of(vbid).position }
  const taken = first.changes
  first.drop()
  await scene.untilParked(1)
  const second = await scene.open(t, { name: `second ${vbid}`, controls })
  t.equal(await second.stream(vbid, before), 'accepted')
  await takeAll(second, vbid, scene.end)
  const isKnown = async () => {
    const stats = await scene.kv.stats('dcp')
    return stats.get(`eq_dcpq:second ${vbid}:stream_${vbid}_known_seqno`) === String(scene.end)
  }
  await until(isKnown, 'all of it is known to have arrived')
  return { before, taken, second }
}

const received = async (scene: WireScene) => Number((await scene.parked())['received_snapshots'])

/** Purges until nothing more can go. */
async function purgedBeyond(scene: WireScene, vbid: number, { seqno }: Position): Promise<void> {
  await until(async () => (await scene.purge(vbid)) > seqno, `purged beyond ${seqno}`)
}

for (const holdMax of ['0', '1d']) {
  t.test(`a request from within what was acknowledged (purge holds of ${holdMax})`, async t => {
    const flags = [...unasked, '--purge-hold-max', holdMax]
    const scene = await WireScene.make(t, { vbuckets: 4, flags })
    const { end, records, tombstones } = scene

    t.test('after the connection that had all is gone', async t => {
      const { before, taken, second } = await receiveAll(t, scene, 0)
      second.drop()
      await scene.untilGone()
      await scene.delete(0, 30)
      await scene.update(0, 1)
      if (holdMax === '0') await purgedBeyond(scene, 0, before)
      t.ok((await scene.purge(0)) <= end, 'not beyond the end of the snapshot')
      const third = await scene.open(t, { name: 'third', controls: {} })
      t.equal(await third.stream(0, before), 'accepted')
      await third.received(records - taken + 31)
      t.same(third.of(0).markers[0], [0, end], 'the same snapshot')
      t.equal(third.of(0).deletions, tombstones + 30, 'no deletion is missing')
      t.same(third.problems, [])
      await third.quit()
    })

    t.test('while that connection is there: neither loses anything', async t => {
      const { before, second } = await receiveAll(t, scene, 1)
      if (holdMax === '0') await purgedBeyond(scene, 1, before)
      const third = await scene.open(t, { name: 'beside', controls })
      t.equal(await third.stream(1, before), 'accepted')
      await takeAll(third, 1, end)
      await third.quit()
      second.readMax = second.changes
      const { position } = second.of(1)
      const behind = { ...position }
      await scene.delete(1, 30)
      await scene.update(1, 1)
      await scene.purge(1)
      second.drop()
      const back = await scene.open(t, { name: 'back', controls: {} })
      t.equal(await back.stream(1, behind), 'accepted')
      await back.received(31)
      t.equal(back.of(1).deletions, 30)
      await back.quit()
    })

    t.test('and from the changes that came from memory behind it', async t => {
      const { second } = await receiveAll(t, scene, 2)
      await scene.update(2, 5)
      await takeAll(second, 2, end + 5)
      const before = { ...second.of(2).position }
      await scene.delete(2, 20)
      await scene.update(2, 1)
      await takeAll(second, 2, end + 26)
      second.drop()
      await scene.untilGone()
      await scene.purge(2)
      const third = await scene.open(t, { name: 'third', controls: {} })
      t.equal(await third.stream(2, before), 'accepted')
      await third.received(21)
      t.equal(third.of(2).deletions, 20)
      await third.quit()
    })

    t.same(scene.logged('client has to roll back'), [])
  })
}

t.test('what was received is kept for a while only, or not at all', async t => {
  for (const grace of ['1s', '0']) {
    const flags = [...unasked, '--purge-hold-max', '0', '--backfill-received-grace', grace]
    const scene = await WireScene.make(t, { vbuckets: 1, flags })
    const { before, second } = await receiveAll(t, scene, 0)
    if (grace === '0') t.equal(await scene.pins(), 0)
    else {
      t.equal(await received(scene), 1)
      t.equal(await scene.pins(), 1)
      t.equal((await metric(scene.daemon))('holdfast_received_snapshots'), 1)
      t.match(await scene.parked(), { parked_snapshots: '0' })
    }
    await until(async () => (await scene.pins()) === 0, 'let go')
    t.equal(await received(scene), 0)
    t.match(await scene.parked(), { 'expired:deadline': '0' }, 'nobody has lost anything')
    await until(async () => (await scene.purge(0)) >= scene.end - 1, 'nothing holds the purger')
    second.drop()
    const third = await scene.open(t, { name: 'third', controls: {} })
    t.equal(await third.stream(0, before), 0, 'back to zero')
    await third.quit()
    await scene.daemon.stop()
  }
})

t.test('what bounds it', async t => {
  const flags = [...unasked, '--parked-max', '2', '--parked-per-client-max', '2']
  const scene = await WireScene.make(t, { vbuckets: 8, flags })

  for (const [vbid, what, release] of [
    [0, 'CLOSE_STREAM', (consumer: WireConsumer) => consumer.closeStream(0)],
    [1, 'QUIT', (consumer: WireConsumer) => consumer.quit()],
  ] as const) {
    t.test(`${what} lets go of what was received`, async t => {
      const { second } = await receiveAll(t, scene, vbid)
      t.equal(await received(scene), 1)
      await release(second)
      await until(async () => (await scene.pins()) === 0, 'nothing is pinned')
      t.equal(await received(scene), 0)
      second.drop()
    })
  }

  t.test('no more is kept than may be parked, and the oldest go', async t => {
    const positions: Position[] = []
    for (const vbid of [2, 3, 4, 5]) {
      const { before, second } = await receiveAll(t, scene, vbid)
      positions.push(before)
      t.equal(await received(scene), Math.min(vbid - 1, 2))
      second.drop()
    }
    const last = await scene.open(t, { name: 'last', controls: {} })
    t.equal(await last.stream(5, positions[3]), 'accepted')
    await last.received(1)
    t.same(last.of(5).markers, [[0, scene.end]])
    await last.quit()
  })
})

t.test('it is the first to go where reader slots or disk are short', async t => {
  const flags = [...unasked, '--environments', '1', '--backfill-received-grace', '10m']
  flags.push('--reader-slots-max', '1', '--pinned-bytes-max', '2MiB')
  const scene = await WireScene.make(t, { vbuckets: 4, flags })

  const { second } = await receiveAll(t, scene, 0)
  // A snapshot is shared while nothing was committed since, or while it is young.
  await scene.update(1, 1)
  await new Promise(resolve => setTimeout(resolve, 1_100))
  const other = await scene.open(t, { name: 'other', controls })
  t.equal(await other.stream(2), 'accepted')
  await other.received(40)
  t.equal(await received(scene), 0)
  await other.quit()
  second.drop()

  await receiveAll(t, scene, 3)
  t.equal(await received(scene), 1)
  await scene.updateUntil(1, async () => (await received(scene)) === 0)
  t.equal(await scene.pins(), 0)
  t.match(await scene.parked(), {
    'expired:pinned-bytes-max': '0',
    'expired:reader-slots-max': '0',
    pinned_bytes: '0',
  })
})
