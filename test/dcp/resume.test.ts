/** Backfills that survive a disconnect, on a real bucket whose tombstones are purged meanwhile. */
import { strict as assert } from 'node:assert'
import t, { type Test } from 'tap'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { DcpSettings } from '../../src/dcp/settings.ts'
import { Consumer } from './support/consumer.ts'
import { openScene, quiet, until, type ConnectOptions, type Scene } from './support/scene.ts'

const resumable = { backfill_resume: 'true' }

/** 600 documents of which some are deleted, all on disk: a snapshot of several slabs. */
async function filled(t: Test, settings: Partial<DcpSettings> = {}, directory?: string) {
  const scene = await openScene(t, settings, directory)
  scene.fill(0, 600, { deleteEvery: 7 })
  await scene.toDisk()
  return scene
}

/** Streams vbucket 0 until at least so many bytes are there, then loses the connection. */
async function cutAfter(scene: Scene, bytes: number, options: ConnectOptions = {}) {
  const link = scene.connect({ controls: resumable, ...options })
  const { consumer, output, producer } = link
  output.stall()
  const status = await scene.stream(link, 0)
  assert.equal(status, Status.success)
  const before = consumer.countedBytes
  while (consumer.countedBytes - before < bytes) {
    await until('something is queued', () => output.queuedBytes > 0)
    output.take(Math.min(700, bytes - (consumer.countedBytes - before)))
  }
  await until('more is under way', () => output.queuedBytes > 0)
  producer.disconnected(false)
  return link
}

/** Connects again with the same state and reads until everything is there. */
async function comeBack(scene: Scene, consumer: Consumer, options: ConnectOptions = {}) {
  const link = scene.connect({ controls: resumable, ...options, consumer })
  const status = await scene.stream(link, 0)
  if (status !== Status.success) return { ...link, status }
  const { highSeqno } = scene.vbucket(0)
  await until('all has arrived', () => consumer.state(0).seqno === highSeqno)
  return { ...link, status }
}

/** Deletes and changes more, and purges every tombstone that nobody holds. */
async function moveOn(scene: Scene) {
  for (let i = 1; i < 600; i += 5) scene.remove(0, `key-${i === 1 || i % 7 !== 0 ? i : i + 1}`)
  scene.fill(0, 100, { prefix: 'later' })
  await scene.toDisk()
  await scene.purge(0)
}

for (const purgeHoldMaxSeconds of [0, 86_400]) {
  t.test(`a backfill that is cut goes on (purge holds of ${purgeHoldMaxSeconds} s)`, async t => {
    const scene = await filled(t, { purgeHoldMaxSeconds })
    const { consumer } = await cutAfter(scene, 20_000)
    const at = { ...consumer.state(0) }
    const [marker] = consumer.markers
    t.ok(at.seqno > 50 && at.seqno < 400)
    t.equal(scene.service.lot.parked.size, 1)
    await moveOn(scene)
    const { purgeSeqno } = scene.vbucket(0)
    if (purgeHoldMaxSeconds === 0) t.ok(purgeSeqno > at.seqno, 'what it needs is purged')

    const again = await cutAfter(scene, 10_000, { consumer })
    t.equal(consumer.markers.length, 2)
    t.same(
      [consumer.markers[1]!.startSeqno, consumer.markers[1]!.endSeqno],
      [marker!.startSeqno, marker!.endSeqno],
      'the marker names the same snapshot',
    )
    t.ok(consumer.state(0).seqno > at.seqno)
    await moveOn(scene).catch(() => undefined)

    const { status } = await comeBack(scene, again.consumer)
    t.equal(status, Status.success)
    t.same(consumer.state(0).documents, scene.documents(0))
    const seqnos = consumer.changes.map(({ seqno }) => seqno)
    t.equal(new Set(seqnos).size, seqnos.length, 'nothing was sent again')
    t.equal(scene.service.counters.rollbacks, 0)
    t.equal(scene.service.counters.resumed, 2)
    t.ok(scene.service.counters.bytesNotSentAgain > 20_000)
  })
}

t.test(
  'a client that begins where tombstones are gone can be cut, also if all is in memory',
  async t => {
    const scene = await openScene(t, {})
    scene.fill(0, 120, { deleteEvery: 7 })
    await scene.purge(0)
    t.ok(scene.vbucket(0).purgeSeqno > 0)
    t.ok(scene.bucket.changes.lowestSeqno(0, scene.vbucket(0).highSeqno) <= 1, 'all is in memory')
    const { consumer } = await cutAfter(scene, 5_000)
    t.ok(consumer.state(0).seqno > 0)
    const { status } = await comeBack(scene, consumer)
    t.equal(status, Status.success)
    t.same(consumer.state(0).documents, scene.documents(0))
    t.equal(scene.service.counters.resumed, 1)
  },
)

t.test('without it the same client has to begin again', async t => {
  const scene = await filled(t)
  const { consumer } = await cutAfter(scene, 20_000, { controls: {} })
  t.equal(scene.service.lot.parked.size, 0)
  await moveOn(scene)
  const { status } = await comeBack(scene, consumer, { controls: {} })
  t.equal(status, Status.rollback)
})

t.test('the purge seqno stops at the end of a parked snapshot', async t => {
  const scene = await filled(t, { purgeHoldMaxSeconds: 0 })
  const { highSeqno } = scene.vbucket(0)
  await cutAfter(scene, 20_000)
  const end = scene.service.lot.all()[0]!.snapshotEnd
  t.equal(end, highSeqno)
  await moveOn(scene)
  t.ok(scene.vbucket(0).highSeqno > end + 100)
  t.ok(scene.vbucket(0).purgeSeqno <= end)
  t.ok(scene.vbucket(0).purgeSeqno > end - 20, 'and no earlier')
  scene.clock.advance(61_000)
  await scene.purge(0)
  t.ok(scene.vbucket(0).purgeSeqno > end, 'it goes on when the grace is over')
})

t.test('with durable holds it stops at what the client is known to have', async t => {
  const scene = await filled(t)
  const controls = { ...resumable, connection_buffer_size: '5000' }
  const link = scene.connect({ controls })
  await scene.stream(link, 0)
  await until('the window is full', () => link.consumer.countedBytes >= 5000)
  await quiet()
  for (const bytes of [10_000, 15_000]) {
    link.producer.bufferAcknowledge(5000)
    await until('more came', () => link.consumer.countedBytes >= bytes)
  }
  scene.clock.advance(2000)
  const hold = scene.bucket.holds.list().find(({ durable }) => durable)
  t.ok(hold && hold.seqno > 0 && hold.seqno <= link.consumer.state(0).seqno)
  t.equal(hold?.deadlineMs, null, 'for as long as it is connected')
  link.producer.disconnected(false)
  const left = scene.bucket.holds.list().find(({ durable }) => durable)
  t.equal(left?.deadlineMs, scene.clock.nowMs() + 60_000)
  await moveOn(scene)
  t.ok(scene.vbucket(0).purgeSeqno <= hold!.seqno)
})

t.test('a client that lost more than the server thinks goes on further back', async t => {
  const scene = await filled(t, { purgeHoldMaxSeconds: 0 })
  const early = new Consumer()
  const { consumer } = await cutAfter(scene, 30_000)
  await cutAfter(scene, 8000, { name: 'early', consumer: early, controls: {} })
  const { seqno } = early.state(0)
  t.ok(seqno < consumer.state(0).seqno)
  await moveOn(scene)
  const { status } = await comeBack(scene, early)
  t.equal(status, Status.success)
  t.same(early.state(0).documents, scene.documents(0))
})

t.test('all was sent, half was read: the snapshot is there still', async t => {
  const scene = await filled(t, { purgeHoldMaxSeconds: 0 })
  const link = scene.connect({ controls: resumable })
  const { consumer, output, producer } = link
  let cut = 30_000
  output.deliver = bytes => {
    const part = bytes.subarray(0, Math.max(0, cut))
    cut -= part.length
    if (part.length > 0) consumer.read(part)
  }
  const { highSeqno } = scene.vbucket(0)
  await scene.stream(link, 0, { endSeqno: highSeqno })
  await until('the server is done', () => producer.streams.size === 0)
  t.ok(consumer.state(0).seqno < highSeqno)
  scene.clock.advance(30_000)
  producer.disconnected(false)
  t.equal(scene.service.lot.parked.size, 1)
  await moveOn(scene)
  const { status } = await comeBack(scene, consumer)
  t.equal(status, Status.success)
  t.same(consumer.state(0).documents, scene.documents(0))
  t.equal(scene.service.counters.rollbacks, 0)
})

t.test('a snapshot known to be received is not parked, and holds nothing', async t => {
  const scene = await filled(t)
  const link = scene.connect({ controls: { ...resumable, connection_buffer_size: '1000000' } })
  const { highSeqno } = scene.vbucket(0)
  await scene.stream(link, 0, { endSeqno: highSeqno })
  await until('it ends', () => link.consumer.ends.length === 1)
  t.equal(scene.service.lot.all().length, 1)
  t.equal(scene.bucket.snapshots.pins().length, 1)
  link.producer.bufferAcknowledge(link.consumer.countedBytes)
  t.equal(scene.service.lot.all().length, 0)
  t.equal(scene.bucket.snapshots.pins().length, 0)
  t.same(scene.bucket.holds.list(), [])
  link.producer.disconnected(false)
  t.equal(scene.service.lot.parked.size, 0)
})

t.test('without flow control it is released a grace after it was taken', async t => {
  const scene = await filled(t)
  const link = scene.connect({ controls: resumable })
  const { highSeqno } = scene.vbucket(0)
  await scene.stream(link, 0)
  await until('all came', () => link.consumer.state(0).seqno === highSeqno)
  scene.clock.advance(59_000)
  t.equal(scene.service.lot.all().length, 1, 'the stream is long in memory')
  scene.clock.advance(2000)
  t.equal(scene.service.lot.all().length, 0)
  t.equal(scene.bucket.snapshots.pins().length, 0)
})

t.test('with flow control nothing but an acknowledgement counts', async t => {
  const scene = await filled(t)
  const controls = {
    connection_buffer_size: '1000000',
    enable_noop: 'true',
    set_noop_interval: '20',
  }
  const link = scene.connect({ controls: { ...resumable, ...controls } })
  const { consumer, producer } = link
  const { highSeqno } = scene.vbucket(0)
  await scene.stream(link, 0)
  await until('all came', () => consumer.state(0).seqno === highSeqno)
  producer.bufferAcknowledge(Math.floor(consumer.countedBytes * 0.5))
  for (let i = 0; i < 20; i++) {
    scene.clock.advance(15_000)
    for (const opaque of consumer.noops.splice(0)) producer.noopAnswered(opaque)
  }
  t.equal(scene.service.lot.all().length, 1, 'the tail may not have been worked on yet')
  await moveOn(scene)
  // What it has worked on and stored is less than what it was sent.
  const behind = new Consumer()
  const start = Math.floor(highSeqno * 0.6)
  const { uuid, snapshotEnd } = consumer.state(0)
  Object.assign(behind.state(0), { seqno: start, uuid, snapshotStart: 0, snapshotEnd })
  producer.disconnected(false)
  t.equal((await comeBack(scene, behind)).status, Status.success)
})

t.test('a snapshot stays held while the stream goes on in memory', async t => {
  const scene = await filled(t, { purgeHoldMaxSeconds: 0 })
  const link = scene.connect({ controls: resumable })
  const { consumer, output, producer } = link
  let cut = 30_000
  output.deliver = bytes => {
    const part = bytes.subarray(0, Math.max(0, cut))
    cut -= part.length
    if (part.length > 0) consumer.read(part)
  }
  await scene.stream(link, 0)
  await until('it is in memory', () => producer.streams.get(0)?.phase === 'in-memory')
  for (let i = 0; i < 50; i++) scene.set(0, `live-${i}`, 'x')
  await quiet()
  t.ok(producer.streams.get(0)!.cursor > scene.service.lot.all()[0]!.snapshotEnd)
  producer.disconnected(false)
  await moveOn(scene)
  const { status } = await comeBack(scene, consumer)
  t.equal(status, Status.success)
  t.same(consumer.state(0).documents, scene.documents(0))
})

t.test('a new connection takes over from one that looks alive', async t => {
  const scene = await filled(t, { purgeHoldMaxSeconds: 0 })
  const first = scene.connect({ controls: resumable })
  first.output.stall()
  await scene.stream(first, 0)
  await until('something is under way', () => first.output.queuedBytes > 16_000)
  first.output.take(9000)
  const second = scene.connect({ controls: resumable, consumer: first.consumer })
  t.match(first.output.closedFor, /another connection/)
  t.equal(scene.service.counters.takenOver, 1)
  await moveOn(scene)
  t.equal(await scene.stream(second, 0), Status.success)
  const { highSeqno } = scene.vbucket(0)
  await until('all came', () => second.consumer.state(0).seqno === highSeqno)
  t.same(second.consumer.state(0).documents, scene.documents(0))
  t.equal(scene.service.counters.resumed, 1)
})

t.test('another user with the same name gets nothing of it and disturbs nothing', async t => {
  const scene = await filled(t, { purgeHoldMaxSeconds: 0 })
  const { consumer } = await cutAfter(scene, 20_000)
  const at = consumer.state(0)
  await moveOn(scene)
  const thief = new Consumer()
  thief.vbuckets.set(0, { ...at, documents: new Map(at.documents) })
  const { status } = await comeBack(scene, thief, { user: 'thief' })
  t.equal(status, Status.rollback)
  t.equal(scene.service.lot.parked.size, 1)
  t.equal((await comeBack(scene, consumer)).status, Status.success)
})

t.test('an id of its own recognises a client whose names change', async t => {
  const scene = await filled(t, { purgeHoldMaxSeconds: 0 })
  const controls = { backfill_resume: '{"id":"indexer","grace":120}' }
  const { consumer } = await cutAfter(scene, 20_000, { name: 'one', controls })
  scene.clock.advance(100_000)
  await moveOn(scene)
  const other = { backfill_resume: '{"id":"somebody"}' }
  const copy = new Consumer()
  copy.vbuckets.set(0, { ...consumer.state(0), documents: new Map() })
  const stranger = await comeBack(scene, copy, { name: 'three', controls: other })
  t.equal(stranger.status, Status.rollback)
  const { status } = await comeBack(scene, consumer, { name: 'two', controls })
  t.equal(status, Status.success)
  t.same(consumer.state(0).documents, scene.documents(0))
})

t.test('an id in use by another connection is taken over', async t => {
  const scene = await filled(t, { purgeHoldMaxSeconds: 0 })
  const controls = { backfill_resume: '{"id":"indexer"}' }
  const first = scene.connect({ name: 'one', controls })
  first.output.stall()
  await scene.stream(first, 0)
  await until('something is under way', () => first.output.queuedBytes > 16_000)
  first.output.take(9000)
  const consumer = new Consumer()
  consumer.vbuckets.set(0, first.consumer.state(0))
  await moveOn(scene)
  t.equal((await comeBack(scene, consumer, { name: 'two', controls })).status, Status.success)
  t.same(consumer.state(0).documents, scene.documents(0))
  t.equal(scene.service.counters.takenOver, 1)
  t.equal(first.producer.streams.size, 0, 'a client streams a vbucket once at a time')
  first.producer.disconnected(false)
  t.equal(scene.service.lot.parked.size, 0, 'the first has nothing left to park')
})

t.test('by default a client is recognised by what it presents', async t => {
  const scene = await filled(t, { purgeHoldMaxSeconds: 0, backfillResumeDefault: true })
  const { consumer } = await cutAfter(scene, 20_000, { name: 'one', controls: {} })
  await moveOn(scene)
  const stranger = new Consumer()
  const at = consumer.state(0)
  stranger.vbuckets.set(0, { ...at, snapshotEnd: at.snapshotEnd - 1, documents: new Map() })
  t.equal((await comeBack(scene, stranger, { controls: {} })).status, Status.rollback)
  const off = { backfill_resume: 'false' }
  t.equal((await comeBack(scene, consumer, { controls: off })).status, Status.rollback)
  const { status } = await comeBack(scene, consumer, { name: 'two', controls: {} })
  t.equal(status, Status.success)
  t.same(consumer.state(0).documents, scene.documents(0))
})

t.test('by default a half-open link shares its snapshot with the one that replaces it', async t => {
  const scene = await filled(t, { purgeHoldMaxSeconds: 0, backfillResumeDefault: true })
  const first = scene.connect({ name: 'one' })
  first.output.stall()
  await scene.stream(first, 0)
  await until('something is under way', () => first.output.queuedBytes > 16_000)
  first.output.take(9000)
  const copy = new Consumer()
  const { documents, ...position } = first.consumer.state(0)
  copy.vbuckets.set(0, { ...position, documents: new Map(documents) })
  await moveOn(scene)
  t.equal((await comeBack(scene, copy, { name: 'two' })).status, Status.success)
  t.same(copy.state(0).documents, scene.documents(0))
  t.equal(first.output.closedFor, undefined)
  first.output.flow()
  const { highSeqno } = scene.vbucket(0)
  await until('the first goes on as well', () => first.consumer.state(0).seqno === highSeqno)
  t.same(first.consumer.state(0).documents, scene.documents(0))
})

t.test('who says goodbye leaves nothing behind', async t => {
  const scene = await filled(t)
  const quit = scene.connect({ controls: resumable })
  quit.output.stall()
  await scene.stream(quit, 0)
  await until('it is under way', () => quit.output.queuedBytes > 0)
  quit.producer.disconnected(true)
  const close = scene.connect({ controls: resumable })
  close.output.stall()
  await scene.stream(close, 0)
  await until('it is under way', () => close.output.queuedBytes > 0)
  close.producer.closeStream(0)
  close.producer.disconnected(false)
  t.equal(scene.service.lot.all().length, 0)
  t.same(scene.bucket.holds.list(), [])
  await until('nothing is pinned', () => scene.bucket.snapshots.pins().length === 0)
})

const releases: [string, (scene: Scene) => Promise<void>][] = [
  ['its vbucket may not be read', scene => scene.bucket.setState(0, VbucketState.dead)],
  ['its vbucket is deleted', scene => scene.bucket.deleteVbucket(0)],
  ['the bucket is flushed', scene => scene.bucket.flush()],
]
for (const [what, happen] of releases) {
  t.test(`a parked snapshot is released at once when ${what}`, async t => {
    const scene = await filled(t)
    await cutAfter(scene, 20_000)
    t.equal(scene.service.lot.parked.size, 1)
    await happen(scene)
    t.equal(scene.service.lot.all().length, 0)
    // A read that is under way ends first.
    await until('nothing is pinned', () => scene.bucket.snapshots.pins().length === 0)
  })
}

t.test('a new history that shares the snapshot leaves it alone', async t => {
  const scene = await filled(t, { purgeHoldMaxSeconds: 0 })
  const { consumer } = await cutAfter(scene, 20_000)
  await scene.bucket.setState(0, VbucketState.replica)
  await scene.bucket.setState(0, VbucketState.active)
  t.equal(scene.service.lot.parked.size, 1)
  await moveOn(scene)
  t.equal((await comeBack(scene, consumer)).status, Status.success)
  t.same(consumer.state(0).documents, scene.documents(0))
})

t.test('a client that comes too late is told by the ordinary rules, and the log why', async t => {
  const scene = await filled(t, { purgeHoldMaxSeconds: 0 })
  const { consumer } = await cutAfter(scene, 20_000)
  scene.clock.advance(61_000)
  t.equal(scene.service.lot.parked.size, 0)
  await until('nothing is pinned', () => scene.bucket.snapshots.pins().length === 0)
  t.equal(scene.service.counters.expired.deadline, 1)
  await moveOn(scene)
  t.equal((await comeBack(scene, consumer)).status, Status.rollback)
  const [line] = scene.logged('client has to roll back')
  t.match(line?.fields['kept'], /nothing any more: 0\.\.\d+ went \d+ s ago \(deadline\)/)
  t.match(line?.fields['reason'], /purged/)
  const [gone] = [...scene.statistics('parked')].filter(([key]) => key.endsWith(':vb_0:gone'))
  t.match(gone?.[1], /^0\.\.\d+ \d+ s ago: deadline$/)
  consumer.rollBack(0)
  t.equal((await comeBack(scene, consumer)).status, Status.success)
  t.same(consumer.state(0).documents, scene.documents(0))
})

t.test('after a restart a durable hold spares the client the rollback', async t => {
  const directory = t.testdir()
  const before = await filled(t, {}, directory)
  const { highSeqno } = before.vbucket(0)
  const link = before.connect({ controls: { ...resumable, connection_buffer_size: '20000' } })
  await before.stream(link, 0)
  await until('the window is full', () => link.consumer.countedBytes >= 20_000)
  link.producer.bufferAcknowledge(20_000)
  await until('it is full again', () => link.consumer.countedBytes >= 40_000)
  before.clock.advance(3_600_000)
  await before.close()

  const after = await openScene(t, {}, directory)
  const [hold] = after.bucket.holds.list()
  t.equal(hold?.deadlineMs, after.clock.nowMs() + 60_000, 'its grace begins with the start')
  for (const key of before.keys(0)) after.keys(0).add(key)
  await moveOn(after)
  t.ok(after.vbucket(0).purgeSeqno < highSeqno, 'its snapshot is gone, its hold is not')
  const { status } = await comeBack(after, link.consumer)
  t.equal(status, Status.success)
  t.same(link.consumer.state(0).documents, after.documents(0))
  after.clock.advance(62_000)
  await after.purge(0)
  t.ok(after.vbucket(0).purgeSeqno > highSeqno, 'the hold moves on with the client')
})
