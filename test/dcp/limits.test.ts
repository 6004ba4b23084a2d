/** What parked snapshots and purge holds may cost, on a real bucket. */
import t from 'tap'
import { StreamEndReason } from '../../protocol/dcp/index.ts'
import { Status } from '../../protocol/status.ts'
import { openScene, quiet, until, type Scene } from './support/scene.ts'

const resumable = { backfill_resume: 'true' }

/** A connection whose backfill of vbucket 0 is under way, and whose client takes nothing. */
async function underWay(scene: Scene, name: string, controls: Record<string, string> = {}) {
  const link = scene.connect({ name, controls })
  link.output.stall()
  const status = await scene.stream(link, 0)
  if (status === Status.success) {
    await until('it is under way', () => link.output.queuedBytes > 0)
  }
  return { ...link, status }
}

t.test('past the pinned bytes a slow stream goes, not what is parked in its wake', async t => {
  const scene = await openScene(t, { pinnedBytesMax: 64 * 1024, purgeHoldMaxSeconds: 0 })
  scene.fill(0, 600)
  await scene.toDisk()
  const slow = await underWay(scene, 'slow')
  for (let round = 0; round < 4; round++) {
    scene.fill(0, 600)
    await scene.toDisk()
  }
  scene.clock.advance(500)
  const parked = await underWay(scene, 'parked', resumable)
  parked.producer.disconnected(false)
  t.equal(scene.bucket.snapshots.pins().length, 2)
  t.ok(scene.bucket.snapshots.pinnedBytes() > 128 * 1024)
  scene.clock.advance(1000)
  t.equal(slow.producer.streams.size, 0, 'at twice the limit a stream need not stand still')
  t.equal(scene.service.lot.parked.size, 1)
  slow.output.flow()
  await until('it is told', () => slow.consumer.ends.length === 1)
  t.equal(slow.consumer.ends[0]!.reason, StreamEndReason.slow)
})

t.test('what is parked gives its reader slots to who is here', async t => {
  const scene = await openScene(t, { readerSlotsMax: 3, purgeHoldMaxSeconds: 0 })
  for (let i = 0; i < 6; i++) {
    scene.fill(0, 300)
    await scene.toDisk()
    scene.clock.advance(1500)
    const link = await underWay(scene, `client ${i}`, resumable)
    t.equal(link.status, Status.success)
    link.producer.disconnected(false)
  }
  t.equal(scene.service.counters.expired['reader-slots-max'], 3)
  t.equal(scene.service.lot.parked.size, 3)
})

t.test('clients that never come back under the same name do not pile up holds', async t => {
  const scene = await openScene(t, { backfillResumeDefault: true, parkedMax: 20 })
  const vbids = Array.from({ length: 15 }, (_, vbid) => vbid)
  for (let i = 0; i < 10; i++) {
    const link = scene.connect({ name: `idle ${i}` })
    await Promise.all(vbids.map(vbid => scene.stream(link, vbid)))
    link.producer.disconnected(false)
  }
  t.same(scene.bucket.holds.list(), [], 'there was nothing to send')
  for (const vbid of vbids) scene.fill(vbid, 2)
  for (let i = 0; i < 10; i++) {
    const link = scene.connect({ name: `client ${i}` })
    await Promise.all(vbids.map(vbid => scene.stream(link, vbid)))
    await quiet()
    link.producer.disconnected(false)
  }
  t.equal(scene.bucket.holds.list().length, 20)
  scene.clock.advance(62_000)
  t.same(scene.bucket.holds.list(), [], 'without a purge that would ask for them')
})

t.test('all vbuckets of a client share pins, and are parked within the limits', async t => {
  const scene = await openScene(t, { parkedPerClientMax: 10 })
  const vbids = Array.from({ length: 15 }, (_, vbid) => vbid)
  for (const vbid of vbids) scene.fill(vbid, 60)
  await scene.toDisk()
  const link = scene.connect({ controls: resumable })
  link.output.stall()
  await Promise.all(vbids.map(vbid => scene.stream(link, vbid)))
  t.ok(scene.bucket.snapshots.pins().length <= 2, 'one for each environment')
  link.producer.disconnected(false)
  t.equal(scene.service.lot.parked.size, 10)
  t.equal(scene.service.counters.expired['parked-per-client-max'], 5)
  const figures = scene.statistics('parked')
  t.equal(figures.get('parked_vbuckets'), 10)
  t.equal(figures.get('expired:parked-per-client-max'), 5)
})
