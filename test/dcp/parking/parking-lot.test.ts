import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { DcpCounters } from '../../../src/dcp/counters.ts'
import type { HeldSnapshot } from '../../../src/dcp/parking/held-snapshot.ts'
import { ParkingLot, snapshotHolder } from '../../../src/dcp/parking/parking-lot.ts'
import { Reaper } from '../../../src/dcp/parking/reaper.ts'
import { silentLog } from '../../../src/log.ts'
import { testSettings } from '../support/settings.ts'
import { FakeBucket } from '../support/fake-snapshots.ts'
import { ManualClock } from '../support/manual-clock.ts'

function scene(settings: Partial<typeof testSettings> = {}) {
  const clock = new ManualClock()
  const lot = new ParkingLot()
  const counters = new DcpCounters()
  const reaper = new Reaper({
    lot,
    clock,
    counters,
    log: silentLog,
    settings: { ...testSettings, ...settings },
  })
  const bucket = new FakeBucket()
  const park = (held: HeldSnapshot, graceMs: number) => {
    lot.hold(held)
    lot.park(held, clock.nowMs(), clock.nowMs() + graceMs)
    return held
  }
  return { clock, lot, counters, reaper, bucket, park }
}

t.test('a snapshot in use holds the purger at its end until it is released', async t => {
  const { lot, bucket, clock } = scene()
  const held = bucket.held({ snapshotEnd: 80 })
  lot.hold(held)
  const hold = `0 ${snapshotHolder('client')}`
  t.same(bucket.purgeHolds.get(hold), {
    seqno: 80,
    deadlineMs: Infinity,
    durable: false,
    lapsesAtMs: null,
  })
  lot.park(held, clock.nowMs(), clock.nowMs() + 5)
  t.equal(bucket.purgeHolds.get(hold)?.deadlineMs, clock.nowMs() + 5)
  lot.release(held, 'received', clock.nowMs())
  t.equal(bucket.purgeHolds.size, 0)
  t.equal(bucket.pinned.size, 0)
  lot.release(held, 'received', clock.nowMs())
  t.equal(lot.all().length, 0, 'releasing twice does nothing')
})

t.test('of consecutive snapshots the least end holds', async t => {
  const { lot, bucket, clock } = scene()
  const one = bucket.held({ snapshotEnd: 80 })
  const two = bucket.held({ snapshotStart: 80, snapshotEnd: 120 })
  lot.hold(one)
  lot.hold(two)
  const hold = `0 ${snapshotHolder('client')}`
  t.equal(bucket.purgeHolds.get(hold)?.seqno, 80)
  lot.park(one, clock.nowMs(), clock.nowMs() + 5)
  t.equal(bucket.purgeHolds.get(hold)?.deadlineMs, Infinity, 'the other is still in use')
  lot.release(one, 'received', clock.nowMs())
  t.equal(bucket.purgeHolds.get(hold)?.seqno, 120)
})

t.test('what is taken out keeps its pin, and its user is told', async t => {
  const { lot, bucket, park } = scene()
  const held = park(bucket.held(), 10)
  lot.take(held)
  t.equal(bucket.pinned.size, 1)
  t.equal(lot.parked.size, 0)
  t.equal(lot.at(held.place).length, 0)
  const used = bucket.held()
  let told = 0
  used.onTaken = () => told++
  lot.hold(used)
  lot.take(used)
  lot.take(used)
  t.equal(told, 1)
})

t.test('deadlines and counts expire, with a memory of why', async t => {
  const { lot, bucket, park, reaper, clock, counters } = scene({ parkedMax: 2 })
  const first = park(bucket.held({ vbid: 1 }), 1000)
  park(bucket.held({ vbid: 2 }), 2000)
  park(bucket.held({ vbid: 3 }), 3000)
  reaper.reap()
  t.equal(counters.expired['parked-max'], 1)
  t.equal(lot.epitaph(first.place)?.cause, 'parked-max')
  t.same(
    lot.epitaphs().map(({ client, vbid, cause }) => ({ client, vbid, cause })),
    [{ client: 'client', vbid: 1, cause: 'parked-max' }],
  )
  clock.advance(2000)
  reaper.reap()
  t.equal(counters.expired.deadline, 1)
  t.equal(lot.parked.size, 1)
  t.equal(bucket.pinned.size, 1)
})

t.test('past the pinned bytes the oldest deadlines go, as many as needed', async t => {
  const { lot, bucket, park, reaper, counters } = scene({ pinnedBytesMax: 250 })
  for (const vbid of [1, 2, 3, 4]) {
    park(bucket.held({ vbid, reference: bucket.pin(vbid, 100, 100) }), vbid * 1000)
  }
  reaper.reap()
  t.equal(counters.expired['pinned-bytes-max'], 2)
  t.same(
    [...lot.parked].map(({ vbid }) => vbid),
    [3, 4],
  )
})

t.test('past the pinned bytes only the oldest pins go, and only if nobody reads them', async t => {
  const { lot, bucket, park, reaper, counters } = scene({ pinnedBytesMax: 50 })
  const read = bucket.pin(0, 100, 100)
  for (const vbid of [2, 4]) {
    park(bucket.held({ vbid, reference: bucket.pin(vbid, 100, 100) }), vbid * 1000)
  }
  reaper.reap()
  t.equal(lot.parked.size, 2, 'a stream reads an older snapshot')
  park(bucket.held({ vbid: 0, reference: read.share() }), 1)
  reaper.reap()
  t.equal(lot.parked.size, 3, 'what else references it does not help')
  read.release()
  reaper.reap()
  t.equal(lot.parked.size, 0)
  t.equal(counters.expired['pinned-bytes-max'], 3)
})

t.test('what is sent whole and merely unacknowledged gives way first', async t => {
  const { lot, bucket, park, reaper } = scene({ pinnedBytesMax: 150 })
  const reference = bucket.pin(0, 100, 100)
  lot.hold(bucket.held({ vbid: 0, snapshotEnd: 100, sentSeqno: 100, reference }))
  park(bucket.held({ vbid: 2, reference: bucket.pin(2, 100, 100) }), 1000)
  reaper.reap()
  t.same(
    lot.all().map(({ vbid }) => vbid),
    [2],
  )
})

t.test('room is made in a full environment only', async t => {
  const { lot, bucket, park, reaper, counters } = scene({ readerSlotsMax: 2 })
  for (const [vbid, environment] of [
    [1, 0],
    [2, 1],
    [3, 1],
  ] as const) {
    park(bucket.held({ vbid, reference: bucket.pin(vbid, 100, 0, environment) }), vbid * 1000)
  }
  reaper.makeRoom(bucket.asBucket, 2)
  t.equal(counters.expired['reader-slots-max'], 0)
  reaper.makeRoom(bucket.asBucket, 5)
  t.equal(counters.expired['reader-slots-max'], 1)
  t.same(
    [...lot.parked].map(({ vbid }) => vbid),
    [1, 3],
  )
  t.ok(reaper.readersFull(bucket.asBucket, 5), 'LMDB knows better')
  t.notOk(reaper.readersFull(bucket.asBucket, 5))
  t.same(
    [...lot.parked].map(({ vbid }) => vbid),
    [1],
  )
})

type Step =
  | { kind: 'hold' | 'park' | 'release' | 'take'; at: number; vbid: number; client: string }
  | { kind: 'advance'; ms: number }
  | { kind: 'reap' }

const place = {
  at: fc.nat(20),
  vbid: fc.nat(3),
  client: fc.constantFrom('a', 'b', 'c'),
}
const steps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constantFrom('hold', 'park', 'release', 'take'), ...place }),
    fc.record({ kind: fc.constant('advance'), ms: fc.nat(5000) }),
    fc.record({ kind: fc.constant('reap') }),
  ) as fc.Arbitrary<Step>,
  { maxLength: 60 },
)

t.test('whatever happens: limits kept, pins and holds exactly of what is held', async t => {
  fc.assert(
    fc.property(steps, program => {
      const { clock, lot, reaper, bucket } = scene({ parkedMax: 5, parkedPerClientMax: 3 })
      const taken: HeldSnapshot[] = []
      for (const step of program) {
        if (step.kind === 'advance') clock.advance(step.ms)
        else if (step.kind === 'reap') reaper.reap()
        else if (step.kind === 'hold') lot.hold(bucket.held({ ...step, snapshotEnd: 1 + step.at }))
        else {
          const all = lot.all()
          const held = all[step.at % Math.max(1, all.length)]
          if (held === undefined) continue
          if (step.kind === 'park') lot.park(held, clock.nowMs(), clock.nowMs() + 3000)
          else if (step.kind === 'release') lot.release(held, 'closed', clock.nowMs())
          else {
            lot.take(held)
            taken.push(held)
          }
        }
        check(lot, bucket, taken)
      }
      reaper.reap()
      const places = new Set([...lot.parked].map(held => held.place))
      assert.ok(places.size <= 5)
      for (const client of ['a', 'b', 'c']) {
        const own = new Set([...lot.parked].filter(h => h.client === client).map(h => h.vbid))
        assert.ok(own.size <= 3)
      }
      for (const held of lot.parked) assert.ok(held.deadlineMs > clock.nowMs())
      for (const held of lot.all()) lot.release(held, 'shutdown', clock.nowMs())
      assert.equal(bucket.purgeHolds.size, 0)
      assert.equal(bucket.pinned.size, taken.length)
    }),
    { numRuns: 300 },
  )
  t.pass('held')
})

function check(lot: ParkingLot, bucket: FakeBucket, taken: readonly HeldSnapshot[]): void {
  const all = lot.all()
  assert.equal(bucket.pinned.size, all.length + taken.length, 'a pin for each held snapshot')
  const ends = new Map<string, number>()
  for (const held of all) {
    const key = `${held.vbid} ${snapshotHolder(held.client)}`
    ends.set(key, Math.min(ends.get(key) ?? Infinity, held.snapshotEnd))
  }
  assert.deepEqual(
    new Map([...bucket.purgeHolds].map(([key, hold]) => [key, hold.seqno])),
    ends,
    'the least end of each client and vbucket holds',
  )
  for (const held of lot.parked) assert.ok(all.includes(held), 'what is parked is held')
}
