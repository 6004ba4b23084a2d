import t from 'tap'
import { Delivery, type DeliveryOptions } from '../../src/dcp/delivery.ts'
import { Deliveries } from '../../src/dcp/deliveries.ts'
import type { HeldSnapshot } from '../../src/dcp/parking/held-snapshot.ts'
import type { StreamScope } from '../../src/dcp/stream-scope.ts'
import { ParkingLot } from '../../src/dcp/parking/parking-lot.ts'
import { knownHold } from '../../src/dcp/purge-hold.ts'
import { FakeBucket } from './support/fake-snapshots.ts'
import { ManualClock } from './support/manual-clock.ts'

const limits = { graceMs: 60_000, purgeHoldMaxMs: 1_000_000 }
const state = { safeSeqno: 5, isInSnapshot: false, progressAtMs: 0, activeAtMs: 0 }

t.test('what is known holds durably, for as long as one client may', async t => {
  t.same(knownHold(state, limits, 999_999), { seqno: 5, durable: true })
  t.equal(knownHold(state, limits, 1_000_000), undefined, 'then only its snapshot does')
  t.same(
    knownHold({ ...state, progressAtMs: Infinity }, limits, 9e9),
    { seqno: 5, durable: true },
    'a client that has everything does not stand still',
  )
})

t.test('without durable holds, what is in flight from memory holds for a while', async t => {
  const none = { ...limits, purgeHoldMaxMs: 0 }
  t.same(knownHold(state, none, 120_000), { seqno: 5, durable: false })
  t.equal(knownHold(state, none, 120_001), undefined)
  t.equal(knownHold({ ...state, isInSnapshot: true }, none, 1), undefined, 'its snapshot does')
})

/** All of a vbucket. */
const wholeOf = (vbid: number): StreamScope => ({
  vbid,
  streamId: 0,
  isAware: true,
  collections: undefined,
  scopeId: undefined,
})

const step = (seqno: number, completes?: HeldSnapshot) => ({ seqno, safeSeqno: seqno, completes })

function delivery(bucket: FakeBucket, more: Partial<DeliveryOptions> = {}) {
  return new Delivery({
    ...limits,
    bucket: bucket.asBucket,
    vbid: 3,
    slot: 3,
    isAware: true,
    purgeHolder: 'client',
    startSeqno: 10,
    nowMs: 0,
    epochMs: 1_000_000,
    receivedGraceMs: 0,
    onDisowned: () => undefined,
    ...more,
  })
}

t.test('receipts move what is known, and complete snapshots', async t => {
  const bucket = new FakeBucket()
  const one = delivery(bucket)
  const held = bucket.held({ vbid: 3 })
  one.add(held)
  one.sent(step(20, undefined), { sent: 1000, window: 0 }, 0)
  one.sent(step(30, undefined), { sent: 2_000_000, window: 0 }, 0)
  one.sent(step(100, held), { sent: 3_500_000, window: 0 }, 0)
  t.same(one.confirm(999, 1), [])
  t.equal(one.knownSeqno, 10)
  t.same(one.confirm(2_000_000, 1), [])
  t.equal(one.knownSeqno, 30)
  t.equal(held.knownSeqno, 30)
  t.same(one.confirm(3_500_000, 1), [held])
  t.notOk(one.hasUnconfirmed)
  one.updateHold(1)
  t.same(bucket.purgeHolds.get('3 client'), {
    seqno: 100,
    deadlineMs: Infinity,
    durable: true,
    lapsesAtMs: null,
  })
})

t.test('checkpoints are merged, but never past the end of a snapshot', async t => {
  const bucket = new FakeBucket()
  const one = delivery(bucket)
  const held = bucket.held({ vbid: 3 })
  one.add(held)
  one.sent(step(11, undefined), { sent: 100, window: 0 }, 0)
  one.sent(step(12, held), { sent: 200, window: 0 }, 10)
  one.sent(step(13, undefined), { sent: 300, window: 0 }, 20)
  t.same(one.confirm(100, 30), [], 'merged with what completed the snapshot')
  t.same(one.confirm(200, 30), [held])
  t.equal(one.knownSeqno, 12)
  t.ok(one.hasUnconfirmed)
})

t.test('in the middle of a snapshot that a crash may lose, its start holds', async t => {
  const bucket = new FakeBucket()
  const one = delivery(bucket)
  const link = { sent: 100, window: 0 }
  one.sent({ seqno: 25, safeSeqno: 20, completes: undefined }, link, 0)
  one.confirm(100, 1)
  one.updateHold(1)
  t.equal(one.knownSeqno, 25)
  t.equal(bucket.purgeHolds.get('3 client')?.seqno, 20)
  one.sent({ seqno: 30, safeSeqno: 30, completes: undefined }, { ...link, sent: 200 }, 1)
  one.confirm(200, 2)
  one.updateHold(2)
  t.equal(bucket.purgeHolds.get('3 client')?.seqno, 30)
})

t.test('what is in flight from memory, ahead of a snapshot on disk, holds still', async t => {
  const bucket = new FakeBucket()
  const one = delivery(bucket, { purgeHoldMaxMs: 0 })
  one.sent(step(50), { sent: 100, window: 0 }, 0)
  one.add(bucket.held({ vbid: 3, snapshotStart: 50, snapshotEnd: 100 }))
  one.updateHold(1)
  t.equal(bucket.purgeHolds.get('3 client')?.seqno, 10, 'the snapshot does not show what follows')
  one.confirm(100, 2)
  one.updateHold(2)
  t.equal(bucket.purgeHolds.size, 0, 'from its start on the snapshot protects the client')
})

t.test('within a small window checkpoints are small, too', async t => {
  const one = delivery(new FakeBucket())
  for (let seqno = 11; seqno <= 30; seqno++)
    one.sent(step(seqno, undefined), { sent: seqno * 100, window: 1600 }, 0)
  one.confirm(2000, 0)
  t.ok(one.knownSeqno >= 18 && one.knownSeqno <= 20)
})

const lapsesAtMs = (bucket: FakeBucket) => bucket.purgeHolds.get('3 client')?.lapsesAtMs

t.test('a client that waits long for its first change is not at once overdue', async t => {
  const bucket = new FakeBucket()
  const one = delivery(bucket, { purgeHoldMaxMs: 1000 })
  one.updateHold(500_000)
  t.equal(lapsesAtMs(bucket), null, 'it has everything')
  one.sent(step(11, undefined), { sent: 100, window: 0 }, 500_000)
  one.updateHold(500_500)
  t.equal(lapsesAtMs(bucket), 1_501_000)
  one.confirm(100, 500_600)
  one.updateHold(500_600)
  t.equal(lapsesAtMs(bucket), null)
})

t.test('a client stuck behind its window has not got everything', async t => {
  const bucket = new FakeBucket()
  bucket.highSeqno = 12
  const one = delivery(bucket, { purgeHoldMaxMs: 1000 })
  t.equal(lapsesAtMs(bucket), 1_001_000, 'although all that was sent is known')
  one.sent(step(12, undefined), { sent: 100, window: 0 }, 600)
  one.confirm(100, 700)
  one.updateHold(700)
  t.equal(lapsesAtMs(bucket), null)
})

t.test('connecting again does not start its time anew, coming back further on does', async t => {
  const bucket = new FakeBucket()
  bucket.highSeqno = 100
  const again = (more: Partial<DeliveryOptions>) =>
    delivery(bucket, { purgeHoldMaxMs: 1000, ...more })
  again({}).leaveHold(300, 1_060_300)
  t.equal(lapsesAtMs(bucket), 1_001_000)
  // Another process, whose monotonic clock began elsewhere.
  const two = again({ nowMs: 77_000, epochMs: 1_000_500 })
  t.equal(lapsesAtMs(bucket), 1_001_000)
  two.updateHold(78_000)
  two.leaveHold(78_000, 1_061_500)
  t.equal(lapsesAtMs(bucket), 1_001_000, 'what has lapsed is remembered for the grace')
  t.equal(bucket.purgeHolds.get('3 client')?.deadlineMs, 1_061_500)
  again({ nowMs: 90_000, epochMs: 1_013_500, startSeqno: 11 })
  t.equal(lapsesAtMs(bucket), 1_014_500)
})

t.test('who has nothing and is sent nothing holds nothing', async t => {
  const bucket = new FakeBucket()
  const { all, positions } = deliveries(bucket)
  all.open(wholeOf(0), 0)
  t.equal(bucket.purgeHolds.size, 0)
  positions.sent = 10
  all.sent(0, { ...step(1, undefined), bytes: 10 })
  t.equal(bucket.purgeHolds.get('0 client')?.seqno, 0, 'from the first byte on it does')
  bucket.highSeqno = 1
  all.open(wholeOf(1), 0)
  t.equal(bucket.purgeHolds.get('1 client')?.seqno, 0, 'what it will be sent is there already')
})

t.test('a client that may ask again from before holds where it was a while ago, too', async t => {
  const bucket = new FakeBucket()
  const one = delivery(bucket, { receivedGraceMs: 10_000 })
  const receive = (seqno: number, nowMs: number, completes?: HeldSnapshot) => {
    one.sent(step(seqno, completes), { sent: nowMs, window: 1 }, nowMs)
    one.confirm(nowMs, nowMs)
  }
  const held = (nowMs: number) => {
    one.updateHold(nowMs)
    t.equal(bucket.purgeHolds.get('3 client')?.seqno, one.knownSeqno)
    return bucket.purgeHolds.get('3 client before')
  }
  t.equal(held(0), undefined)
  receive(20, 1000)
  t.match(held(1000), { seqno: 10, deadlineMs: 1_011_000, durable: false })
  receive(30, 6000)
  t.match(held(10_999), { seqno: 10, deadlineMs: 1_020_999 })
  t.equal(held(11_000)?.seqno, 20)
  for (let nowMs = 11_001; nowMs < 15_000; nowMs++) receive(nowMs, nowMs)
  t.equal(held(15_999)?.seqno, 20)
  t.equal(held(16_000)?.seqno, 30)
  const later = held(24_000)!.seqno
  t.ok(later <= 14_000 && later > 12_700, `${later} is what it had ten seconds ago, or a bit less`)
  t.equal(held(24_998)?.deadlineMs, 1_034_998)
  const snapshot = bucket.held({ vbid: 3, snapshotStart: 14_999, snapshotEnd: 20_000 })
  receive(20_000, 25_000, snapshot)
  t.equal(held(25_000), undefined, 'within a snapshot that is kept nothing has to be held')
  one.leaveHold(26_000, 1_086_000)
  t.match(bucket.purgeHolds.get('3 client'), { seqno: 20_000, deadlineMs: 1_086_000 })
})

t.test('a connection that goes leaves its hold for the grace', async t => {
  const bucket = new FakeBucket()
  const one = delivery(bucket)
  one.leaveHold(5000, 1_060_000)
  t.equal(bucket.purgeHolds.get('3 client')?.deadlineMs, 1_060_000)
  one.releaseHold()
  t.equal(bucket.purgeHolds.size, 1, 'it is not the connection’s any more')
  delivery(bucket).leaveHold(5000, Infinity)
  t.equal(
    bucket.purgeHolds.get('3 client')?.deadlineMs,
    Infinity,
    'a stop lets it wait for a start',
  )
})

function deliveries(
  bucket: FakeBucket,
  positions = { sent: 0, window: 0, taken: 0, acked: 0, answered: Infinity },
) {
  const clock = new ManualClock()
  const lot = new ParkingLot()
  const claims = new Map<string, Delivery>()
  const takenOver: number[] = []
  const make = () =>
    new Deliveries({
      ...limits,
      lot,
      clock,
      bucket: bucket.asBucket,
      claims,
      client: 'client',
      places: 'places',
      receivedGraceMs: 0,
      onReceived: held => lot.release(held, 'received', clock.nowMs()),
      positions,
      onTakenOver: vbid => takenOver.push(vbid),
    })
  return { clock, lot, claims, positions, takenOver, make, all: make() }
}

t.test('a snapshot is given up when its last byte has been received', async t => {
  const bucket = new FakeBucket()
  const { all, lot, positions } = deliveries(bucket)
  all.open(wholeOf(0), 0)
  const held = bucket.held()
  all.hold(held)
  positions.sent = 500
  all.sent(0, { ...step(60, undefined), bytes: 500 })
  positions.sent = 900
  all.sent(0, { ...step(100, held), bytes: 400 })
  t.equal(held.sentBytes, 900)
  positions.acked = 899
  all.confirm()
  t.equal(lot.all().length, 1)
  positions.acked = 900
  all.confirm()
  t.equal(lot.all().length, 0)
  t.equal(bucket.pinned.size, 0)
})

t.test('without acknowledgements it is given up a grace after the kernel took it', async t => {
  const bucket = new FakeBucket()
  const { all, lot, positions, clock } = deliveries(bucket)
  all.open(wholeOf(0), 0)
  const held = bucket.held()
  all.hold(held)
  positions.sent = 900
  all.sent(0, { ...step(100, held), bytes: 900 })
  positions.taken = 800
  all.confirm()
  clock.advance(61_000)
  all.confirm()
  t.equal(lot.all().length, 1, 'the kernel has not taken it yet')
  positions.taken = 900
  all.confirm()
  clock.advance(59_999)
  all.confirm()
  t.equal(lot.all().length, 1)
  clock.advance(1)
  positions.answered = 899
  all.confirm()
  t.equal(lot.all().length, 1, 'no no-op behind it has been answered')
  positions.answered = 900
  all.confirm()
  t.equal(lot.all().length, 0)
})

t.test('what a finished stream left under way is parked all the same', async t => {
  const bucket = new FakeBucket()
  const { all, lot, positions, claims } = deliveries(bucket)
  all.open(wholeOf(0), 0)
  const held = bucket.held()
  all.hold(held)
  const broken = bucket.held({ snapshotStart: 100, snapshotEnd: 200 })
  all.hold(broken)
  positions.sent = 900
  all.sent(0, { ...step(100, held), bytes: 900 })
  all.finish(0)
  t.same(lot.all(), [held], 'one that was not sent whole is of no use')
  t.equal(claims.size, 1)
  all.leave()
  t.notOk(all.park())
  t.same([...lot.parked], [held])
  t.equal(claims.size, 0)
})

t.test('a finished stream that has been received holds nothing', async t => {
  const bucket = new FakeBucket()
  const { all, positions, claims } = deliveries(bucket)
  all.open(wholeOf(0), 0)
  all.hold(bucket.held())
  positions.sent = 900
  all.sent(0, { ...step(100, bucket.held()), bytes: 900 })
  all.finish(0)
  all.release(0, 'closed')
  all.open(wholeOf(1), 7)
  t.equal(bucket.purgeHolds.size, 1)
  all.finish(1)
  t.equal(bucket.purgeHolds.size, 0)
  t.equal(claims.size, 0)
})

t.test('a second connection of the client takes the holds over', async t => {
  const bucket = new FakeBucket()
  const { all, make, positions, takenOver } = deliveries(bucket)
  all.open(wholeOf(0), 40)
  all.open(wholeOf(0), 50)
  t.same(takenOver, [])
  const other = make()
  other.open(wholeOf(0), 70)
  t.same(takenOver, [0])
  t.equal(bucket.purgeHolds.get('0 client')?.seqno, 70)
  positions.sent = 10
  all.sent(0, { ...step(60, undefined), bytes: 10 })
  positions.acked = 10
  all.confirm()
  all.leave()
  all.park()
  t.equal(bucket.purgeHolds.get('0 client')?.seqno, 70, 'the first has no say any more')
  t.equal(bucket.purgeHolds.get('0 client')?.deadlineMs, Infinity)
})

t.test('parked part by part, what a client asks for is parked at once', async t => {
  const bucket = new FakeBucket()
  const { all, lot, clock, claims } = deliveries(bucket)
  const snapshots = [0, 1, 2, 3, 4].map(vbid => {
    all.open(wholeOf(vbid), 0)
    const held = { ...bucket.held(), vbid, slot: vbid, place: `place of ${vbid}` }
    all.hold(held)
    return held
  })
  const deadlineMs = clock.nowMs() + all.graceMs
  all.leave()
  t.equal(lot.parked.size, 0)
  t.ok(all.park(2), 'there is more')
  t.same([...lot.parked], snapshots.slice(0, 2))
  clock.advance(1000)
  t.same(lot.lookFor('place of 4'), [snapshots[4]])
  t.same([...lot.parked], [snapshots[0], snapshots[1], snapshots[4]])
  lot.release(snapshots[2]!, 'history', clock.nowMs())
  t.notOk(all.park(2))
  t.equal(lot.parked.size, 4, 'one was gone by then')
  t.equal(all.parked, 4)
  t.equal(claims.size, 0)
  for (const held of lot.parked) t.match(held, { deadlineMs, parkNow: undefined })
  const holds = [...bucket.purgeHolds.values()]
  t.ok(holds.length > 0 && holds.every(hold => hold.deadlineMs === deadlineMs))
})
