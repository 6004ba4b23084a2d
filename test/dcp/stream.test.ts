/** Streams of a real bucket, from disk and from memory, to a client that checks every frame. */
import t from 'tap'
import {
  DcpOpenFlag,
  MarkerFlag,
  StreamEndReason,
  StreamRequestFlag,
} from '../../protocol/dcp/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { StreamAnswer } from '../../src/dcp/stream-answer.ts'
import { committed } from '../support/bucket.ts'
import { openScene, quiet, until } from './support/scene.ts'

t.test('a stream brings what is on disk, then what happens, without gap or repetition', async t => {
  const scene = await openScene(t)
  scene.fill(0, 1000, { deleteEvery: 7 })
  await scene.toDisk()
  const link = scene.connect()
  const { consumer } = link
  t.equal(await scene.stream(link, 0), Status.success)
  for (let i = 0; i < 500; i++) {
    scene.set(0, `key-${i}`, `changed ${i}`)
    if (i % 50 === 0) await quiet()
  }
  const { highSeqno } = scene.vbucket(0)
  await until('all has arrived', () => consumer.state(0).seqno === highSeqno)
  t.same(consumer.state(0).documents, scene.documents(0))
  scene.set(0, 'one', 'more')
  await until('that has arrived', () => consumer.state(0).seqno === highSeqno + 1)
  const [first, ...rest] = consumer.markers
  t.equal(first?.startSeqno, 0, 'the first snapshot begins at the seqno asked from')
  t.equal(first?.flags, MarkerFlag.disk | MarkerFlag.checkpoint)
  t.equal(rest.at(-1)!.flags & MarkerFlag.memory, MarkerFlag.memory)
  for (const [index, marker] of rest.entries()) {
    t.equal(marker.startSeqno, consumer.markers[index]!.endSeqno, 'snapshots are contiguous')
  }
  t.equal(scene.statistics('dcp').get('eq_dcpq:client:stream_0_state'), 'in-memory')
})

t.test('the answer to a request leaves before the first frame of its stream', async t => {
  const scene = await openScene(t)
  scene.fill(0, 10)
  const link = scene.connect()
  const { producer, consumer, output } = link
  let isAnswered = false
  const reply = ({ value }: StreamAnswer) => {
    isAnswered = true
    t.equal(output.writtenBytes, 0)
    consumer.accepted(0, value)
  }
  producer.streamRequest(consumer.request(0), { reply, fail: error => t.fail(String(error)) })
  t.notOk(isAnswered)
  await until('frames come', () => link.output.writtenBytes > 0)
})

t.test('a vbucket without changes streams nothing until there is one', async t => {
  const scene = await openScene(t)
  const link = scene.connect()
  await scene.stream(link, 4)
  await quiet()
  t.equal(link.output.writtenBytes, 0)
  scene.set(4, 'a', 'b')
  await until('it came', () => link.consumer.state(4).seqno === 1)
  t.same(
    link.consumer.markers.map(m => [m.startSeqno, m.endSeqno, m.flags]),
    [[0, 1, 5]],
  )
})

t.test('the snapshot that holds the end is sent whole, in its newest versions', async t => {
  const scene = await openScene(t)
  for (const value of ['one', 'two', 'three']) scene.set(0, 'key', value)
  const link = scene.connect()
  link.consumer.state(0).seqno = 1
  link.consumer.state(0).snapshotStart = 1
  link.consumer.state(0).snapshotEnd = 1
  const { vbuuid } = scene.vbucket(0).failoverLog
  t.equal(await scene.stream(link, 0, { endSeqno: 2, vbuuid }), Status.success)
  await until('the stream ends', () => link.consumer.ends.length === 1)
  t.same(
    link.consumer.changes.map(({ seqno }) => seqno),
    [3],
  )
  t.equal(link.consumer.ends[0]!.reason, StreamEndReason.ok)
  t.equal(link.producer.streams.size, 0)
})

t.test('also when it takes many steps, and the end is passed in one before the last', async t => {
  const scene = await openScene(t)
  scene.fill(0, 30)
  scene.set(0, 'key-0', 'newer, and behind the end')
  const link = scene.connect({ controls: { connection_buffer_size: '1000' } })
  const { consumer, producer } = link
  await scene.stream(link, 0, { endSeqno: 15 })
  const reading = setInterval(() => producer.bufferAcknowledge(500), 1)
  t.teardown(() => clearInterval(reading))
  await until('the stream ends', () => consumer.ends.length === 1)
  t.equal(consumer.state(0).seqno, 31)
  t.same(consumer.state(0).documents, scene.documents(0))
})

t.test('a stream up to where it starts ends at once', async t => {
  const scene = await openScene(t)
  const link = scene.connect()
  t.equal(await scene.stream(link, 0, { endSeqno: 0 }), Status.success)
  await until('the stream ends', () => link.consumer.ends.length === 1)
  t.equal(link.consumer.markers.length, 0)
})

t.test('to the latest: what comes later is not sent', async t => {
  const scene = await openScene(t)
  scene.fill(0, 20)
  const link = scene.connect()
  await scene.stream(link, 0, { flags: StreamRequestFlag.toLatest })
  await until('the stream ends', () => link.consumer.ends.length === 1)
  t.equal(link.consumer.state(0).seqno, 20)
  scene.set(0, 'late', '')
  await quiet()
  t.equal(link.consumer.state(0).seqno, 20)
})

t.test('disk only: up to what is on disk at the time', async t => {
  const scene = await openScene(t)
  scene.fill(0, 20)
  await committed(scene.bucket)
  const link = scene.connect()
  await scene.stream(link, 0, { flags: StreamRequestFlag.diskOnly })
  scene.set(0, 'late', '')
  await until('the stream ends', () => link.consumer.ends.length === 1)
  t.equal(link.consumer.state(0).seqno, 20)
  t.same(
    link.consumer.markers.map(({ flags }) => flags),
    [MarkerFlag.disk | MarkerFlag.checkpoint],
  )
})

t.test('from the latest: only what comes later is sent', async t => {
  const scene = await openScene(t)
  scene.fill(0, 20)
  const link = scene.connect()
  link.consumer.state(0).seqno = 20
  const ask = { flags: StreamRequestFlag.fromLatest, startSeqno: 0 }
  t.equal(await scene.stream(link, 0, ask), Status.success)
  scene.set(0, 'late', '')
  await until('it came', () => link.consumer.state(0).seqno === 21)
})

t.test('what cannot be streamed is refused with its status', async t => {
  const scene = await openScene(t)
  scene.fill(0, 20)
  await scene.bucket.setState(1, VbucketState.replica)
  await scene.bucket.setState(2, VbucketState.dead)
  const link = scene.connect()
  const { vbuuid } = scene.vbucket(0).failoverLog
  const ask = (vbid: number, more: object) => scene.stream(link, vbid, more)
  t.equal(await ask(999, {}), Status.notMyVbucket)
  t.equal(await ask(2, {}), Status.notMyVbucket)
  t.equal(await ask(1, { flags: StreamRequestFlag.activeOnly }), Status.notMyVbucket)
  t.equal(await ask(0, { startSeqno: 5, endSeqno: 4 }), Status.outOfRange)
  t.equal(
    await ask(0, { startSeqno: 5, snapshotStartSeqno: 6, snapshotEndSeqno: 9 }),
    Status.outOfRange,
  )
  t.equal(
    await ask(0, { startSeqno: 5, snapshotStartSeqno: 1, snapshotEndSeqno: 4 }),
    Status.outOfRange,
  )
  t.equal(await ask(0, { flags: StreamRequestFlag.takeover }), Status.notSupported)
  t.equal(await ask(0, { value: '{' }), Status.invalidArguments)
  t.equal(await ask(0, { value: '{"sid":4}' }), Status.streamIdInvalid)
  t.equal(await ask(0, { value: '{"collections":["8"]}' }), Status.unknownCollection)
  t.equal(await ask(0, { value: '{"scope":"8"}' }), Status.unknownScope)
  t.equal(await ask(0, { value: '{"scope":"0","collections":["0"]}' }), Status.invalidArguments)
  t.equal(
    await ask(0, { startSeqno: 5, snapshotStartSeqno: 5, snapshotEndSeqno: 5 }),
    Status.rollback,
  )
  const ahead = { startSeqno: 90, snapshotStartSeqno: 90, snapshotEndSeqno: 90, vbuuid }
  const { status, value } = await scene.request(link, 0, ahead)
  t.equal(status, Status.rollback)
  t.equal(value.readBigUInt64BE(), 20n)
  t.equal(await ask(1, {}), Status.success, 'a replica serves who does not insist')
  t.equal(await ask(0, { value: '{"collections":["0"],"uid":"0"}' }), Status.success)
  t.equal(await ask(0, {}), Status.keyExists)
  t.equal(scene.bucket.holds.list().length, 0, 'nothing is held for it')
})

t.test('a slow client costs a bounded queue, and gets what it missed from disk', async t => {
  const scene = await openScene(t)
  const link = scene.connect()
  const { consumer, output } = link
  await scene.stream(link, 0)
  scene.set(0, 'first', '')
  await until('it is in memory', () => consumer.state(0).seqno === 1)
  output.stall()
  for (let round = 0; round < 20; round++) {
    scene.fill(0, 200, { prefix: `round-${round % 4}`, deleteEvery: 11 })
    await scene.toDisk()
    await quiet()
  }
  t.ok(output.queuedBytesMax <= 3 * 16 * 1024, `${output.queuedBytesMax} bytes were queued`)
  output.flow()
  const { highSeqno } = scene.vbucket(0)
  await until('it has caught up', () => consumer.state(0).seqno === highSeqno)
  t.same(consumer.state(0).documents, scene.documents(0))
  t.ok(
    consumer.markers.some(({ flags }) => flags & MarkerFlag.disk),
    'it went back to the disk',
  )
})

t.test('never more than a window and one message are unacknowledged', async t => {
  const scene = await openScene(t)
  scene.fill(0, 300)
  scene.fill(1, 300)
  await scene.toDisk()
  const window = 1000
  const link = scene.connect({ controls: { connection_buffer_size: String(window) } })
  const { consumer, producer } = link
  await scene.stream(link, 0)
  await scene.stream(link, 1)
  const frameMax = 300
  let acked = 0
  for (;;) {
    const before = consumer.countedBytes
    await until('something comes', () => consumer.countedBytes - acked >= window)
    await quiet()
    t.ok(consumer.countedBytes - acked < window + frameMax, 'one message beyond it at most')
    if (consumer.countedBytes > 20_000) break
    t.equal(producer.flow.unackedBytes, consumer.countedBytes - acked)
    producer.bufferAcknowledge(500)
    acked += 500
    if (before === consumer.countedBytes) await quiet()
  }
  const rest = setInterval(() => producer.bufferAcknowledge(100_000), 1)
  t.teardown(() => clearInterval(rest))
  await until('all has arrived', () => [0, 1].every(vbid => consumer.state(vbid).seqno === 300))
  t.same(consumer.state(1).documents, scene.documents(1))
})

t.test('frames are of the form that was negotiated', async t => {
  const scene = await openScene(t)
  scene.set(0, 'a', 'value')
  scene.set(0, 'b', 'value')
  scene.remove(0, 'a')
  const plain = scene.connect({ name: 'plain' })
  const keys = scene.connect({
    name: 'keys',
    flags: DcpOpenFlag.noValue | DcpOpenFlag.includeDeleteTimes,
    controls: { enable_expiry_opcode: 'true', max_marker_version: '2.2' },
  })
  // Who asks for expirations, which carry their time, gets it with deletions, too.
  const timed = scene.connect({ name: 'timed', controls: { enable_expiry_opcode: 'true' } })
  for (const link of [plain, keys, timed]) {
    await scene.stream(link, 0)
    await until('all is there', () => link.consumer.state(0).seqno === 3)
  }
  t.same(plain.consumer.state(0).documents, new Map([['b', 'value']]))
  t.same(keys.consumer.state(0).documents, new Map([['b', '']]))
  const bytesOf = (link: typeof plain) =>
    link.consumer.changes.find(({ opcode }) => opcode === Opcode.dcpDeletion)!.bytes
  t.equal(bytesOf(plain), 24 + 18 + 1)
  t.equal(bytesOf(keys), 24 + 21 + 1)
  t.equal(bytesOf(timed), 24 + 21 + 1)
  t.same(
    [plain, keys].map(link => link.consumer.markers[0]!.version),
    ['1.0', '2.2'],
  )
  t.equal(keys.consumer.markers[0]!.maxVisibleSeqno, 3)
})

t.test('a closed stream ends in silence, or with a word if that was asked for', async t => {
  const scene = await openScene(t)
  scene.fill(0, 10)
  const silent = scene.connect({ name: 'silent' })
  const told = scene.connect({
    name: 'told',
    controls: { send_stream_end_on_client_close_stream: 'true' },
  })
  for (const { producer, consumer } of [silent, told]) {
    t.equal(producer.closeStream(0), Status.keyNotFound)
    await scene.stream({ producer, consumer, output: silent.output }, 0)
    await until('it is there', () => consumer.state(0).seqno >= 10)
    t.equal(producer.closeStream(0), Status.success)
    scene.set(0, 'more', '')
    await quiet()
  }
  t.same(silent.consumer.ends, [])
  t.same(
    told.consumer.ends.map(({ reason }) => reason),
    [StreamEndReason.closed],
  )
  t.equal(silent.consumer.state(0).seqno, 10)
  t.equal(await scene.stream(silent, 0), Status.success, 'it can be opened again')
})

t.test('a stream closed right behind its request ends before its first frame', async t => {
  const scene = await openScene(t)
  scene.fill(0, 200)
  await scene.toDisk()
  const link = scene.connect()
  const { producer, consumer } = link
  const answer = scene.stream(link, 0)
  t.equal(producer.closeStream(0), Status.success)
  t.equal(producer.closeStream(0), Status.keyNotFound, 'once')
  t.equal(await answer, Status.success)
  await quiet()
  t.equal(producer.streams.size, 0)
  t.equal(consumer.countedBytes, 0)
  await until('its pin is gone', () => scene.bucket.snapshots.pins().length === 0)
})

t.test('streams end when their vbucket may no longer be read', async t => {
  const scene = await openScene(t)
  for (const vbid of [0, 1, 2, 3]) scene.fill(vbid, 3)
  const link = scene.connect()
  await scene.stream(link, 0)
  await scene.stream(link, 1, { flags: StreamRequestFlag.activeOnly })
  await scene.stream(link, 2)
  await scene.stream(link, 3)
  await quiet()
  await scene.bucket.setState(0, VbucketState.dead)
  await scene.bucket.setState(1, VbucketState.replica)
  await scene.bucket.setState(2, VbucketState.replica)
  await scene.bucket.deleteVbucket(3)
  await until('they have ended', () => link.consumer.ends.length === 3)
  t.same(
    link.consumer.ends.map(({ vbid, reason }) => [vbid, reason]),
    [0, 1, 3].map(vbid => [vbid, StreamEndReason.stateChanged]),
  )
  await scene.bucket.setState(2, VbucketState.active)
  scene.set(2, 'more', '')
  await until('it goes on', () => link.consumer.state(2).seqno === 4)
})

t.test('a flush sends everybody back to the start', async t => {
  const scene = await openScene(t)
  scene.fill(0, 50)
  await scene.toDisk()
  const link = scene.connect()
  await scene.stream(link, 0)
  await until('all is there', () => link.consumer.state(0).seqno === 50)
  await scene.bucket.flush()
  await until('it ends', () => link.consumer.ends.length === 1)
  t.equal(link.consumer.ends[0]!.reason, StreamEndReason.rollback)
  t.equal(await scene.stream(link, 0), Status.rollback)
  link.consumer.rollBack(0)
  scene.set(0, 'new', 'life')
  t.equal(await scene.stream(link, 0), Status.success)
  await until('the new life comes', () => link.consumer.state(0).seqno === 1)
  t.same(link.consumer.state(0).documents, new Map([['new', 'life']]))
})

t.test('no-ops go to a quiet client with streams; one that is silent is closed', async t => {
  const scene = await openScene(t)
  const link = scene.connect({ controls: { enable_noop: 'true', set_noop_interval: '1' } })
  scene.clock.advance(5000)
  t.same(link.consumer.noops, [], 'not without streams')
  await scene.stream(link, 0)
  scene.clock.advance(1500)
  t.equal(link.consumer.noops.length, 1)
  link.producer.noopAnswered(link.consumer.noops[0]!)
  scene.clock.advance(1500)
  t.equal(link.consumer.noops.length, 2)
  t.equal(link.output.closedFor, undefined)
  scene.clock.advance(1500)
  t.match(link.output.closedFor, /no-op/)
  t.equal(scene.service.producers.size, 0)
  t.equal(scene.logged('client does not answer: closing').length, 1)
})

t.test('who lacks purged tombstones begins again, unless that does not matter', async t => {
  const scene = await openScene(t)
  scene.fill(0, 100, { deleteEvery: 10 })
  await scene.toDisk()
  const link = scene.connect({ controls: { max_marker_version: '2.2' } })
  const { vbuuid } = scene.vbucket(0).failoverLog
  await scene.purge(0)
  const { purgeSeqno } = scene.vbucket(0)
  t.ok(purgeSeqno > 100)
  const at = (seqno: number) => ({
    vbuuid,
    startSeqno: seqno,
    snapshotStartSeqno: seqno,
    snapshotEndSeqno: seqno,
  })
  t.equal(await scene.stream(link, 0, at(purgeSeqno - 1)), Status.rollback)
  const told = { ...at(50), value: `{"purge_seqno":"${purgeSeqno}"}` }
  link.consumer.state(0).seqno = 50
  t.equal(await scene.stream(link, 0, told), Status.success)
  await until('it came', () => link.consumer.state(0).seqno === scene.vbucket(0).highSeqno)
  t.equal(link.consumer.markers[0]!.purgeSeqno, purgeSeqno, 'the marker tells what is purged')
  link.producer.closeStream(0)
  link.consumer.state(0).seqno = 50
  const indifferent = { ...at(50), flags: StreamRequestFlag.ignorePurgedTombstones }
  t.equal(await scene.stream(link, 0, indifferent), Status.success)
  link.producer.closeStream(0)
  link.consumer.rollBack(0)
  t.equal(await scene.stream(link, 0), Status.success)
  await until('all came', () => link.consumer.state(0).seqno === scene.vbucket(0).highSeqno)
  t.same(link.consumer.state(0).documents, scene.documents(0))
})

t.test('many vbuckets take turns, or come one after the other', async t => {
  const scene = await openScene(t)
  for (const vbid of [0, 1, 2, 3, 4, 5]) scene.fill(vbid, 400)
  await scene.toDisk()
  const orderOf = async (order: string) => {
    const link = scene.connect({ name: order, controls: { backfill_order: order } })
    for (const vbid of [0, 1, 2, 3, 4, 5]) await scene.stream(link, vbid)
    await until('all came', () =>
      [0, 1, 2, 3, 4, 5].every(vbid => link.consumer.state(vbid).seqno === 400),
    )
    return link.consumer.changes.filter(
      ({ vbid }, index, all) => index === 0 || all[index - 1]!.vbid !== vbid,
    ).length
  }
  t.equal(await orderOf('sequential'), 6)
  t.ok((await orderOf('round-robin')) > 12)
})

t.test('a connection of the same name takes the place of the other, of that user only', async t => {
  const scene = await openScene(t)
  const first = scene.connect({ name: 'same' })
  const foreign = scene.connect({ name: 'same', user: 'somebody else' })
  const second = scene.connect({ name: 'same' })
  t.match(first.output.closedFor, /another connection/)
  t.equal(foreign.output.closedFor, undefined)
  t.equal(second.output.closedFor, undefined)
  t.equal(await scene.stream(first, 0), Status.temporaryFailure)
  t.equal(await scene.stream(foreign, 0), Status.success)
})

t.test('a stop ends every stream with its reason', async t => {
  const scene = await openScene(t)
  const link = scene.connect()
  await scene.stream(link, 0)
  await scene.stream(link, 1)
  scene.service.close()
  t.same(
    link.consumer.ends.map(({ reason }) => reason),
    [StreamEndReason.disconnected, StreamEndReason.disconnected],
  )
})
