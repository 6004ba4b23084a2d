/**
 * One client and one vbucket at a time, over the wire. Only the pinned snapshot protects the
 * client (`--purge-hold-max 0`), and everything that may be purged is purged while it is away.
 */
import t from 'tap'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { KvClient } from '../../src/client/index.ts'
import { FaultyProxy } from '../support/faulty-proxy.ts'
import { until } from './until.ts'
import { beginning } from './wire-consumer.ts'
import { WireScene } from './wire-scene.ts'

t.setTimeout(120_000)

const window = { backfill_resume: 'true', connection_buffer_size: '65536' }

t.test('parking', async t => {
  const scene = await WireScene.make(t, {
    vbuckets: 16,
    flags: ['--purge-hold-max', '0'],
    buckets: ['emptied', 'doomed'],
  })
  const { end, records, tombstones } = scene
  let nextVbid = 0

  t.test('everything was sent, half was read: the rest comes, and nothing twice', async t => {
    const vbid = nextVbid++
    const first = await scene.open(t, { name: 'half', readMax: records / 2 })
    t.equal(await first.stream(vbid), 'accepted')
    await first.received(records / 2)
    await scene.untilAllSent('half', vbid, end)
    const { position, seqnos } = first.of(vbid)
    first.drop()
    await scene.untilParked(1)
    const purgeSeqno = await scene.purge(vbid)
    t.ok(
      purgeSeqno > position.seqno,
      `purged up to ${purgeSeqno}, the client is at ${position.seqno}`,
    )

    const second = await scene.open(t, { name: 'half' })
    t.equal(await second.stream(vbid, position), 'accepted')
    await second.received(records / 2)
    t.same(second.of(vbid).markers, [[0, end]], 'the marker names the original bounds')
    t.equal(second.of(vbid).deletions, tombstones, 'purged tombstones are in the snapshot')
    t.equal(new Set([...seqnos, ...second.of(vbid).seqnos]).size, records)
    t.same([...first.problems, ...second.problems], [])
    t.match(await scene.parked(), { parked_snapshots: '0', resumed: '1' })
    await second.quit()
  })

  t.test('a second loss within the resumed backfill, and a third', async t => {
    const vbid = nextVbid++
    let position = beginning
    const all: number[] = []
    for (const loss of [1, 2, 3]) {
      const consumer = await scene.open(t, { name: 'again', controls: window })
      t.equal(await consumer.stream(vbid, position), 'accepted')
      await consumer.received(40)
      const received = consumer.of(vbid)
      t.same(received.markers, [[0, end]])
      t.same(consumer.problems, [])
      all.push(...received.seqnos)
      position = received.position
      consumer.drop()
      await scene.untilParked(1)
      t.ok((await scene.purge(vbid)) > position.seqno, `loss ${loss}: purged beyond the client`)
    }
    const last = await scene.open(t, { name: 'again', controls: window })
    t.equal(await last.stream(vbid, position), 'accepted')
    for (let acknowledged = 0; all.length + last.changes < records;) {
      last.acknowledge(last.bytes - acknowledged)
      acknowledged = last.bytes
      await last.received(Math.min(last.changes + 1, records - all.length))
    }
    last.acknowledge(last.bytes)
    t.same(
      [...all, ...last.of(vbid).seqnos].length,
      new Set([...all, ...last.of(vbid).seqnos]).size,
    )
    await until(async () => (await scene.pins()) === 0, 'released once all is known received')
    t.equal(last.of(vbid).ended, undefined, 'the stream goes on')
    await last.quit()
  })

  t.test('nothing of the snapshot arrived, not even its marker', async t => {
    const vbid = nextVbid++
    const whole = await scene.open(t, { name: 'marker' })
    t.equal(await whole.stream(vbid), 'accepted')
    await whole.received(records)
    const { position } = whole.of(vbid)
    await whole.quit()
    await scene.update(vbid, 30)
    await scene.delete(vbid, 20)
    await outOfMemory(scene)

    const first = await scene.open(t, { name: 'marker', readMax: 0 })
    t.equal(await first.stream(vbid, position), 'accepted')
    await scene.untilAllSent('marker', vbid, end + 50)
    first.drop()
    await scene.untilParked(1)
    t.ok((await scene.purge(vbid)) > position.seqno)
    const inOtherWords = { ...position, snapshotStart: end, snapshotEnd: end }
    for (const presented of [position, inOtherWords]) {
      const second = await scene.open(t, { name: 'marker' })
      t.equal(await second.stream(vbid, presented), 'accepted')
      await second.received(50)
      t.same(second.of(vbid).markers, [[end, end + 50]])
      t.equal(second.of(vbid).deletions, 20)
      if (presented === position) second.drop()
      else await second.quit()
      await scene.untilParked(presented === position ? 1 : 0)
    }
  })

  t.test('a half-open link is taken over at once', async t => {
    const vbid = nextVbid++
    const proxy = await FaultyProxy.start({ targetPort: scene.daemon.port })
    t.teardown(() => proxy.close())
    const { taken_over: takenOverBefore } = await scene.parked()
    const first = await scene.open(t, { name: 'half-open', port: proxy.port, controls: window })
    t.equal(await first.stream(vbid), 'accepted')
    await first.received(40)
    proxy.halfOpenNow()
    await until(() => first.isClosed, 'the client knows')
    const { position } = first.of(vbid)
    t.equal((await scene.kv.stats('dcp')).get('ep_dcp_count'), '1', 'the server does not')
    await until(async () => (await scene.purge(vbid)) > position.seqno, 'purged beyond the client')

    const second = await scene.open(t, { name: 'half-open' })
    t.equal(await second.stream(vbid, position), 'accepted')
    await second.received(records - first.changes)
    t.same(second.of(vbid).markers, [[0, end]])
    t.equal((await scene.kv.stats('dcp')).get('ep_dcp_count'), '1')
    const { taken_over: takenOver } = await scene.parked()
    t.equal(Number(takenOver), Number(takenOverBefore) + 1)
    t.equal(scene.logged('taken over by a new connection').length, 1)
    await second.quit()
  })

  t.test('purges stop at the end of the snapshot, until its client is done', async t => {
    const vbid = nextVbid++
    const first = await scene.open(t, { name: 'hold', controls: window })
    t.equal(await first.stream(vbid), 'accepted')
    await first.received(40)
    const { position } = first.of(vbid)
    await scene.delete(vbid, 30)
    // While a client is new, what it has seen holds too; that is looked at once a second.
    await until(async () => (await scene.purge(vbid)) > position.seqno, 'purged beyond the client')
    const inUse = await scene.purge(vbid)
    first.drop()
    await scene.untilParked(1)
    const whileParked = await scene.purge(vbid)
    for (const purgeSeqno of [inUse, whileParked]) {
      t.ok(position.seqno < purgeSeqno && purgeSeqno <= end, `purged up to ${purgeSeqno} of ${end}`)
    }
    const second = await scene.open(t, { name: 'hold' })
    t.equal(await second.stream(vbid, position), 'accepted')
    await second.received(records - first.changes + 30)
    t.equal(second.of(vbid).deletions, tombstones + 30, 'none is missing behind the snapshot')
    await second.quit()
    t.equal(await scene.purge(vbid), end + 29, 'all but the newest change')
  })

  for (const [what, release] of [
    ['CLOSE_STREAM', (consumer, vbid) => consumer.closeStream(vbid)],
    ['QUIT', consumer => consumer.quit()],
  ] as const satisfies readonly [string, (c: Consumer, vbid: number) => Promise<void>][]) {
    t.test(`${what} releases at once`, async t => {
      const vbid = nextVbid++
      const consumer = await scene.open(t, { name: what, controls: window })
      t.equal(await consumer.stream(vbid), 'accepted')
      await consumer.received(40)
      t.equal(await scene.pins(), 1)
      const { position } = consumer.of(vbid)
      await (release as (c: Consumer, vbid: number) => Promise<void>)(consumer, vbid)
      await until(async () => (await scene.pins()) === 0, 'nothing pinned')
      consumer.drop()
      t.match(await scene.parked(), { parked_snapshots: '0' })
      t.equal(await scene.purge(vbid), end - 1, 'nothing holds the purger')
      const late = await scene.open(t, { name: what })
      t.equal(await late.stream(vbid, position), 0, 'there is nothing to go on in')
      await late.quit()
    })
  }

  t.test('a vbucket in a state that may not be streamed releases at once', async t => {
    const [parked, streaming] = [nextVbid++, nextVbid++]
    const away = await scene.open(t, { name: 'state', controls: window })
    t.equal(await away.stream(parked), 'accepted')
    await away.received(40)
    away.drop()
    await scene.untilParked(1)
    await scene.kv.setVbucketState(parked, VbucketState.replica)
    t.match(await scene.parked(), { parked_snapshots: '1' }, 'a replica may be streamed')
    await scene.kv.setVbucketState(parked, VbucketState.dead)
    t.match(await scene.parked(), { parked_snapshots: '0' })
    const here = await scene.open(t, { name: 'here', controls: window })
    t.equal(await here.stream(streaming), 'accepted')
    await here.received(40)
    await scene.kv.setVbucketState(streaming, VbucketState.dead)
    await until(() => here.of(streaming).ended === 'stateChanged', 'the stream ends')
    t.equal(await scene.pins(), 0)
    here.drop()
    await scene.untilGone()
    t.match(await scene.parked(), { parked_snapshots: '0' })
  })

  for (const bucket of ['emptied', 'doomed']) {
    t.test(`a bucket that is ${bucket} releases at once`, async t => {
      const kv = await KvClient.connect({ port: scene.daemon.port, bucket })
      t.teardown(() => kv.destroy())
      for (const name of ['away', 'here']) {
        const consumer = await scene.open(t, { name, bucket, controls: window })
        t.equal(await consumer.stream(0), 'accepted')
        await consumer.received(40)
        if (name === 'away') consumer.drop()
      }
      await until(async () => (await kv.stats('parked')).get('parked_snapshots') === '1', 'parked')
      t.equal(await scene.pins(), 1, 'one snapshot serves both')
      await (bucket === 'emptied' ? kv.flush() : scene.kv.deleteBucket(bucket))
      t.equal(await scene.pins(), 0)
      const { parked_snapshots: parked } = Object.fromEntries(await kv.stats('parked'))
      t.equal(parked, '0')
    })
  }
})

type Consumer = Awaited<ReturnType<WireScene['open']>>

/** Writes so much elsewhere that the change log gives up what came before. */
async function outOfMemory(scene: WireScene): Promise<void> {
  await scene.update(15, 15_000)
}
