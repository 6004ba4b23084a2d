/** What is kept for a client goes at its deadline, or earlier where it would cost too much. */
import t from 'tap'
import { WireScene } from './wire-scene.ts'

t.setTimeout(120_000)

const window = { backfill_resume: 'true', connection_buffer_size: '65536' }

/** Of the log: why snapshots went, and whose. */
const expiries = (scene: WireScene) =>
  scene.logged('parked snapshots expired').map(({ client, cause, snapshots }) => ({
    name: (JSON.parse(String(client)) as string[]).at(-1),
    cause,
    snapshots,
  }))

t.test('a client that comes after the deadline rolls back, and the log says why', async t => {
  const flags = ['--purge-hold-max', '0', '--backfill-grace', '1s']
  const scene = await WireScene.make(t, { vbuckets: 2, flags })
  const { end, records, kv } = scene
  const late = await scene.open(t, { name: 'late', controls: window })
  const patient = { ...window, backfill_resume: '{"grace":60}' }
  const inTime = await scene.open(t, { name: 'in time', controls: patient })
  for (const consumer of [late, inTime]) {
    t.equal(await consumer.stream(0), 'accepted')
    await consumer.received(40)
    consumer.drop()
  }
  await scene.untilParked(2)
  t.ok((await scene.purge(0)) <= end)
  await scene.untilParked(1)
  t.match(await scene.parked(), { 'expired:deadline': '1' })
  t.same(expiries(scene), [{ name: 'late', cause: 'deadline', snapshots: 1 }])

  const again = await scene.open(t, { name: 'late', controls: { backfill_resume: 'true' } })
  t.equal(await again.stream(0, late.of(0).position), 0, 'back to zero')
  t.equal((await kv.stats('dcp')).get('ep_dcp_rollbacks'), '1')
  const [refusal] = scene.logged('client has to roll back')
  t.match(refusal, { rollbackTo: 0, reason: /purged/, kept: /^nothing any more.*\(deadline\)$/ })
  t.equal(await again.stream(0), 'accepted')
  await again.received(records - scene.tombstones)

  const back = await scene.open(t, { name: 'in time' })
  t.equal(await back.stream(0, inTime.of(0).position), 'accepted', 'who asked for more has it')
  await back.received(records - inTime.changes)
})

t.test('past the number of vbuckets, in all or of one client, the oldest go', async t => {
  const flags = ['--parked-max', '3', '--parked-per-client-max', '2']
  const scene = await WireScene.make(t, { vbuckets: 8, flags })
  for (const [name, vbids, left] of [
    ['one', [0, 1, 2], 2],
    ['two', [3, 4], 3],
  ] as const) {
    const consumer = await scene.open(t, {
      name,
      controls: { ...window, connection_buffer_size: '4096' },
    })
    for (const vbid of vbids) t.equal(await consumer.stream(vbid), 'accepted')
    await consumer.received(1)
    consumer.drop()
    await scene.untilGone()
    await scene.untilParked(left)
  }
  t.match(await scene.parked(), {
    parked_vbuckets: '3',
    'expired:parked-per-client-max': '1',
    'expired:parked-max': '1',
  })
  t.same(expiries(scene), [
    { name: 'one', cause: 'parked-per-client-max', snapshots: 1 },
    { name: 'one', cause: 'parked-max', snapshots: 1 },
  ])
})

t.test('past the disk space that may be kept from reuse, the oldest go', async t => {
  const flags = ['--pinned-bytes-max', '2MiB', '--environments', '1']
  const scene = await WireScene.make(t, { vbuckets: 4, flags })
  const consumer = await scene.open(t, { name: 'costly', controls: window })
  t.equal(await consumer.stream(0), 'accepted')
  await consumer.received(40)
  consumer.drop()
  await scene.untilParked(1)
  await scene.updateUntil(1, async () => (await scene.parked())['parked_snapshots'] === '0')
  t.match(await scene.parked(), { 'expired:pinned-bytes-max': '1', pinned_bytes: '0' })
  t.same(expiries(scene), [{ name: 'costly', cause: 'pinned-bytes-max', snapshots: 1 }])
  t.equal(await scene.pins(), 0)
})

t.test('past the reader slots, the oldest make room for a new backfill', async t => {
  const flags = ['--reader-slots-max', '2', '--environments', '1']
  const scene = await WireScene.make(t, { vbuckets: 4, flags })
  for (const name of ['first', 'second', 'third']) {
    const consumer = await scene.open(t, { name, controls: window })
    t.equal(await consumer.stream(0), 'accepted', `${name} is served`)
    await consumer.received(40)
    consumer.drop()
    await scene.untilGone()
    // A snapshot is shared while nothing was committed since, or while it is young.
    await scene.update(0, 1)
    await new Promise(resolve => setTimeout(resolve, 1_100))
  }
  t.same(expiries(scene), [{ name: 'first', cause: 'reader-slots-max', snapshots: 1 }])
  t.match(await scene.parked(), { parked_snapshots: '2', 'expired:reader-slots-max': '1' })
})
