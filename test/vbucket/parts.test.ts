import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { RecordKind } from '../../src/storage/record.ts'
import { CasClock } from '../../src/vbucket/cas-clock.ts'
import { ChangeLog } from '../../src/vbucket/change-log.ts'
import { wins, type Version } from '../../src/vbucket/conflict.ts'
import { absoluteExpiry, isExpired } from '../../src/vbucket/expiry.ts'
import { FailoverLog } from '../../src/vbucket/failover-log.ts'
import { DocumentLocks } from '../../src/vbucket/locks.ts'
import { PersistenceWaiters } from '../../src/vbucket/persistence.ts'
import { PressureGauge, type Pressure } from '../../src/vbucket/pressure.ts'
import { newVbucketRecord, Vbucket } from '../../src/vbucket/vbucket.ts'
import { WriteGate } from '../../src/vbucket/write-gate.ts'

t.test('the CAS clock grows strictly, whatever the clock does', async t => {
  const step = fc.oneof(
    fc.record({ tickAtMs: fc.integer({ min: 0, max: 4e12 }) }),
    fc.record({ tickAtMs: fc.constantFrom(0, 1_700_000_000_000, 1_700_000_000_001) }),
    fc.record({ observe: fc.bigInt(0n, 2n ** 63n - 1n) }),
  )
  const property = fc.property(
    fc.bigInt(0n, 2n ** 63n - 1n),
    fc.array(step, { maxLength: 100, size: 'max' }),
    (stored, steps) => {
      const clock = new CasClock(stored)
      assert.equal(clock.max, stored)
      for (const step of steps) {
        const before = clock.max
        if ('observe' in step) {
          clock.observe(step.observe)
          assert.equal(clock.max, step.observe > before ? step.observe : before)
        } else {
          clock.tick(step.tickAtMs)
          assert.ok(clock.max > before)
          assert.ok(clock.low >= 0 && clock.low <= 0xffffffff && clock.high <= 0xffffffff)
        }
      }
    },
  )
  fc.assert(property, { numRuns: 200 })
  const clock = new CasClock()
  clock.tick(1_700_000_000_000)
  const nanoseconds = 1_700_000_000_000n * 1_000_000n
  t.ok(clock.max <= nanoseconds && nanoseconds - clock.max < 65_536n, 'it tells the time')
  const full = new CasClock(0x17_ffff_ffffn)
  full.tick(0)
  t.equal(full.max, 0x18_0000_0000n, 'the low half carries into the high one')
})

t.test('a history begins behind its seqno, and what began later never happened', async t => {
  const log = new FailoverLog([{ vbuuid: 1n, seqno: 0 }])
  log.branch(2n, 10)
  log.branch(3n, 20)
  log.branch(4n, 15)
  t.same(log.entries, [
    { vbuuid: 4n, seqno: 15 },
    { vbuuid: 2n, seqno: 10 },
    { vbuuid: 1n, seqno: 0 },
  ])
  t.equal(log.vbuuid, 4n)
  t.same(FailoverLog.fromJSON(log.toJSON()).entries, log.entries)
  for (let i = 0; i < 40; i++) log.branch(100n + BigInt(i), 15 + i)
  t.equal(log.entries.length, 25)
  t.equal(log.vbuuid, 139n)
  log.replace([{ vbuuid: 2n ** 64n - 1n, seqno: 5 }])
  t.same(FailoverLog.fromJSON(log.toJSON()).entries, [{ vbuuid: 2n ** 64n - 1n, seqno: 5 }])
})

t.test('a write gate is paused by one owner until its deadline', async t => {
  const gate = new WriteGate('open')
  t.ok(gate.pause('move', 1000))
  t.notOk(gate.isOpen)
  t.equal(gate.state(999), 'paused')
  t.notOk(gate.pause('failover', 5000), 'somebody else has it')
  t.ok(gate.pause('move', 2000), 'its owner may prolong it')
  t.notOk(gate.resume('failover'))
  t.equal(gate.state(1500), 'paused')
  t.equal(gate.state(2000), 'open', 'it ends by itself')
  t.equal(gate.owner, undefined)
  t.notOk(gate.resume('move'))
  gate.close()
  t.equal(gate.state(0), 'closed')
  t.notOk(gate.pause('move', 1000))
  gate.open()
  t.ok(gate.pause('move', 1000) && gate.resume('move') && gate.isOpen)
})

t.test('pressure begins at its limit and ends some way below it', async t => {
  const gauge = new PressureGauge(100, 200)
  const seen: Pressure[] = []
  const stop = gauge.listen(pressure => seen.push(pressure))
  for (const bytes of [99, 100, 99, 76, 75, 74, 76, 99]) gauge.update(bytes)
  t.same(seen, ['soft', 'none'])
  for (const bytes of [199, 200, 199, 151, 149, 120, 74]) gauge.update(bytes)
  t.same(seen.splice(2), ['soft', 'hard', 'soft', 'none'])
  gauge.update(500)
  gauge.update(0)
  t.same(seen.splice(2), ['hard', 'none'])
  stop()
  gauge.update(500)
  t.equal(seen.length, 2)
  t.equal(gauge.pressure, 'hard')
})

t.test('expiry is relative up to thirty days and absolute beyond', async t => {
  const month = 30 * 24 * 3600
  t.equal(absoluteExpiry(0, 1000), 0)
  t.equal(absoluteExpiry(1, 1000), 1001)
  t.equal(absoluteExpiry(month, 1000), 1000 + month)
  t.equal(absoluteExpiry(month + 1, 1000), month + 1)
  t.notOk(isExpired(0, 1e9))
  t.notOk(isExpired(11, 10))
  t.ok(isExpired(10, 10))
})

const versions: fc.Arbitrary<Version> = fc.record({
  revno: fc.nat(2),
  casHigh: fc.nat(1),
  casLow: fc.nat(1),
  expiry: fc.nat(1),
  flags: fc.nat(1),
})

t.test('of two versions that differ one wins, whichever comes first', async t => {
  const property = fc.property(versions, versions, versions, (a, b, c) => {
    const isEqual = JSON.stringify(a) === JSON.stringify(b)
    assert.equal(wins(a, b) || wins(b, a), !isEqual)
    assert.ok(!(wins(a, b) && wins(b, a)))
    if (wins(a, b) && wins(b, c)) assert.ok(wins(a, c))
  })
  fc.assert(property, { numRuns: 2000 })
  const version = { revno: 1, casHigh: 0, casLow: 9, expiry: 9, flags: 9 }
  t.ok(wins({ revno: 2, casHigh: 0, casLow: 0, expiry: 0, flags: 0 }, version))
  t.ok(wins({ ...version, casHigh: 1, casLow: 0, expiry: 0 }, version))
  t.notOk(wins(version, version), 'a full tie keeps what is there')
})

t.test('locks end at their time, by their vbucket, or when they are taken off', async t => {
  const locks = new DocumentLocks()
  const key = Buffer.from('xaxbx')
  const lock = { casHigh: 1, casLow: 2, untilMs: 100 }
  locks.lock(1, key, 1, 1, lock)
  locks.lock(1, key, 3, 1, { ...lock, untilMs: 200 })
  locks.lock(11, key, 1, 1, { ...lock, untilMs: 300 })
  t.equal(locks.find(1, Buffer.from('a'), 0, 1, 99), lock)
  t.equal(locks.find(2, key, 1, 1, 0), undefined)
  t.equal(locks.find(1, key, 1, 1, 100), undefined)
  t.equal(locks.find(1, key, 1, 1, 0), undefined, 'one that has ended is gone')
  locks.sweep(200)
  t.equal(locks.find(1, key, 3, 1, 0), undefined)
  locks.forget(1)
  t.ok(locks.find(11, key, 1, 1, 0), 'vbucket 11 is not vbucket 1')
  locks.unlock(11, key, 1, 1)
  t.equal(locks.find(11, key, 1, 1, 0), undefined)
})

t.test('a vbucket tells its watchers of every change until they stop', async t => {
  const vbucket = new Vbucket(3, newVbucketRecord(VbucketState.active, 7n))
  let calls = 0
  const stop = vbucket.watch(() => calls++)
  vbucket.notify()
  vbucket.notify()
  stop()
  vbucket.notify()
  t.equal(calls, 2)
  t.equal(vbucket.purgeSettled(), undefined)
  let settle: (() => void) | undefined
  vbucket.markPurging(new Promise<void>(resolve => (settle = resolve)))
  const settled = vbucket.purgeSettled()!
  settle!()
  await settled
  t.equal(vbucket.purgeSettled(), undefined)
  const failing = Promise.reject(new Error('no'))
  vbucket.markPurging(failing)
  await vbucket.purgeSettled()
})

function waitScene() {
  const log = new ChangeLog({
    segmentBytes: 4096,
    retainBytes: 1e6,
    cacheBytes: 0,
    onSegment: () => undefined,
    onRelease: () => undefined,
  })
  const waiters = new PersistenceWaiters(log)
  const vbucket = new Vbucket(0, newVbucketRecord(VbucketState.active, 7n))
  const append = () => {
    const seqno = vbucket.highSeqno + 1
    const head = {
      kind: RecordKind.mutation,
      vbid: 0,
      datatype: 0,
      casHigh: 0,
      casLow: seqno,
      seqno,
      revno: 1,
      flags: 0,
      time: 0,
    }
    log.append(head, Buffer.from(`key-${seqno}`), 0, 5, 0)
    vbucket.highSeqno++
    vbucket.notify()
    return log.end
  }
  const commit = (position: number, seqno: number) => {
    log.markCommitted(position)
    vbucket.persistedSeqno = seqno
    waiters.committed(position)
  }
  return { waiters, vbucket, append, commit }
}

/** Lets promises that are settled call back. */
const turn = () => new Promise(resolve => setImmediate(resolve))

t.test('a wait for a seqno that is given up, or whose vbucket is gone, leaves nothing', async t => {
  const { waiters, vbucket, append, commit } = waitScene()
  const given = new AbortController()
  const reasons: unknown[] = []
  for (let i = 0; i < 10; i++) {
    waiters.reached(vbucket, 1e9 + i, given.signal).catch(reason => reasons.push(reason))
  }
  const kept = waiters.reached(vbucket, 2, given.signal)
  t.equal(waiters.waiting, 11)
  append()
  commit(append(), 2)
  await kept
  t.equal(waiters.waiting, 10)
  given.abort('late')
  await turn()
  t.same(
    reasons,
    Array.from({ length: 10 }, () => 'late'),
  )
  t.equal(waiters.waiting, 0)
  await t.rejects(waiters.reached(vbucket, 1e9, AbortSignal.abort(new Error('late'))))
  const forgotten = waiters.reached(vbucket, 3)
  waiters.forget(vbucket, new Error('gone'))
  await t.rejects(forgotten, { message: 'gone' })
  waiters.close(new Error('closed'))
  await t.rejects(waiters.reached(vbucket, 3), { message: 'closed' })
  t.equal(waiters.waiting, 0)
})

t.test('who waits for LMDB is not told of what is durable by other means', async t => {
  const { waiters, append, commit } = waitScene()
  const told: string[] = []
  const first = append()
  waiters.afterDurable(() => told.push('first durable'))
  waiters.afterCommit(() => told.push('first committed'))
  const second = append()
  waiters.afterDurable(() => told.push('second durable'))
  waiters.durable(first)
  t.same(told, ['first durable'])
  commit(second, 2)
  await turn()
  t.same(told, ['first durable', 'second durable', 'first committed'])
})

t.test('who waits for the disk is told in order, and not before', async t => {
  const { waiters, vbucket, append, commit } = waitScene()
  const told: string[] = []
  waiters.afterCommit(() => told.push('nothing'))
  t.same(told, [], 'never from within the call')
  await turn()
  t.same(told, ['nothing'])
  const first = append()
  waiters.afterCommit(() => told.push('first'))
  const second = append()
  waiters.afterCommit(() => told.push('second'))
  void waiters.reached(vbucket, 1).then(() => told.push('seqno 1'))
  void waiters.reached(vbucket, 2).then(() => told.push('seqno 2'))
  void waiters.reached(vbucket, 4).then(() => told.push('seqno 4'))
  await turn()
  t.same(told, ['nothing'])
  commit(first, 1)
  await turn()
  t.same(told.splice(1), ['first', 'seqno 1'])
  commit(second, 2)
  await turn()
  t.same(told.splice(1), ['second', 'seqno 2'])
  commit(append(), 3)
  await turn()
  t.same(told.splice(1), [])
  const fourth = append()
  await turn()
  commit(fourth, 4)
  await turn()
  t.same(told.splice(1), ['seqno 4'])
  await waiters.reached(vbucket, 3)
})

t.test('a wait for a seqno that was made and committed before it was noticed ends', async t => {
  const { waiters, vbucket, append, commit } = waitScene()
  const reached = waiters.reached(vbucket, 1)
  commit(append(), 0)
  await reached
  t.pass()
})

t.test('who waits for a vbucket that goes away is told so', async t => {
  const { waiters, vbucket, append } = waitScene()
  append()
  const present = assert.rejects(waiters.reached(vbucket, 1), { message: 'gone' })
  const future = assert.rejects(waiters.reached(vbucket, 9), { message: 'gone' })
  const other = new Vbucket(1, newVbucketRecord(VbucketState.active, 7n))
  const elsewhere = assert.rejects(waiters.reached(other, 1), { message: 'closing' })
  waiters.forget(vbucket, new Error('gone'))
  await Promise.all([present, future])
  waiters.close(new Error('closing'))
  await elsewhere
  t.pass()
})
