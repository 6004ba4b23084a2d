import t from 'tap'
import type { DurableHold } from '../../src/storage/flusher-messages.ts'
import { PurgeHolds, type PurgeHold } from '../../src/storage/holds.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'

function scene(clock = new ManualClock(), stored: PurgeHold[] = []) {
  const store = new Map<string, DurableHold>()
  const writes: string[] = []
  const holds = new PurgeHolds(
    {
      clock,
      graceMs: 60_000,
      storeIntervalMs: 1000,
      store: (vbid, holder, hold) => {
        writes.push(`${vbid}/${holder}`)
        if (hold) store.set(`${vbid}/${holder}`, hold)
        else store.delete(`${vbid}/${holder}`)
      },
    },
    stored,
  )
  return { clock, holds, store, writes }
}

/** New holds are stored together after so long. */
const soonMs = 25

t.test('the least hold of a vbucket is its limit', async t => {
  const { holds } = scene()
  t.equal(holds.limit(1), Infinity)
  holds.set(1, 'a', 50, Infinity, false)
  holds.set(1, 'b', 30, Infinity, false)
  holds.set(2, 'a', 10, Infinity, false)
  t.equal(holds.limit(1), 30)
  holds.set(1, 'b', 70, Infinity, false)
  t.equal(holds.limit(1), 50)
  holds.release(1, 'a')
  holds.release(1, 'a')
  t.equal(holds.limit(1), 70)
  holds.releaseAll(1)
  t.equal(holds.limit(1), Infinity)
  t.equal(holds.limit(2), 10)
  t.equal(holds.list().length, 1)
})

t.test('a hold ends at its deadline, that of a connected client never', async t => {
  const { clock, holds } = scene()
  holds.set(1, 'parked', 30, clock.nowMs() + 5000, false)
  holds.set(1, 'connected', 40, Infinity, false)
  clock.advance(4999)
  t.equal(holds.limit(1), 30)
  clock.advance(1)
  t.equal(holds.limit(1), 40)
  clock.advance(1e9)
  t.equal(holds.limit(1), 40)
})

t.test('a durable hold is stored in a moment, then with what has changed every second', async t => {
  const { clock, holds, store, writes } = scene()
  holds.set(1, 'a', 30, Infinity, true)
  clock.advance(soonMs)
  t.same(store.get('1/a'), { seqno: 30, deadlineMs: null, graceMs: 60_000 })
  holds.set(1, 'a', 31, Infinity, true)
  holds.set(1, 'a', 32, clock.nowMs() + 9000, true, 7000)
  t.equal(writes.length, 1)
  clock.advance(1000)
  t.equal(writes.length, 2)
  t.same(store.get('1/a'), { seqno: 32, deadlineMs: clock.nowMs() + 8000, graceMs: 7000 })
  clock.advance(1000)
  t.equal(writes.length, 2, 'nothing has changed')
  holds.release(1, 'a')
  clock.advance(1000)
  t.equal(store.size, 0)
  holds.set(2, 'volatile', 5, Infinity, false)
  clock.advance(1000)
  t.equal(store.size, 0, 'what is not durable is not stored')
  holds.set(2, 'volatile', 6, Infinity, true)
  holds.set(2, 'volatile', 7, Infinity, false)
  holds.close()
  t.equal(store.size, 0, 'a hold that is no longer durable is taken out of the store')
  holds.set(3, 'last', 5, Infinity, true)
  holds.set(3, 'last', 6, Infinity, true)
  holds.close()
  t.equal(store.get('3/last')!.seqno, 6)
  t.same(writes.slice(-1), ['3/last'])
})

t.test('holds that are over go by themselves, whether or not a purge asks', async t => {
  const { clock, holds, store } = scene()
  holds.set(1, 'durable', 30, clock.nowMs() + 500, true)
  holds.set(2, 'volatile', 30, clock.nowMs() + 500, false)
  holds.set(3, 'connected', 30, Infinity, true)
  clock.advance(1000)
  t.same(
    holds.list().map(({ holder }) => holder),
    ['connected'],
  )
  t.same([...store.keys()], ['3/connected'])
})

t.test('a hold that has lapsed holds nothing, and is remembered', async t => {
  const { clock, holds, store } = scene()
  const lapsesAtMs = clock.nowMs() + 5000
  holds.set(1, 'a', 30, Infinity, true, 60_000, lapsesAtMs)
  clock.advance(soonMs)
  t.equal(store.get('1/a')!.lapsesAtMs, lapsesAtMs)
  clock.advance(4999 - soonMs)
  t.equal(holds.limit(1), 30)
  clock.advance(1)
  t.equal(holds.limit(1), Infinity)
  t.equal(holds.of(1, 'a')!.lapsesAtMs, lapsesAtMs)
  const after = scene(clock, [{ ...store.get('1/a')!, vbid: 1, holder: 'a', durable: true }])
  t.equal(after.holds.limit(1), Infinity, 'after a restart as well')
  t.equal(after.holds.of(1, 'a')!.lapsesAtMs, lapsesAtMs)
})

t.test('one that moves backwards is stored at once', async t => {
  const { holds, store } = scene()
  holds.set(1, 'a', 30, Infinity, true)
  holds.set(1, 'a', 20, Infinity, true)
  t.equal(store.get('1/a')!.seqno, 20)
})

t.test('an expired durable hold leaves the store too', async t => {
  const { clock, holds, store } = scene()
  holds.set(1, 'a', 30, clock.nowMs() + 500, true)
  clock.advance(600)
  t.equal(holds.limit(1), Infinity)
  clock.advance(1000)
  t.equal(store.size, 0)
})

t.test('after a restart the grace of who was connected begins, other deadlines stand', async t => {
  const clock = new ManualClock()
  const now = clock.nowMs()
  const base = { vbid: 1, durable: true, graceMs: 20_000 }
  const { holds, store } = scene(clock, [
    { ...base, holder: 'connected', seqno: 10, deadlineMs: null },
    { ...base, holder: 'parked', seqno: 5, deadlineMs: now + 1000 },
    { ...base, holder: 'late', seqno: 1, deadlineMs: now - 1 },
  ])
  t.equal(holds.limit(1), 5)
  clock.advance(1000)
  t.equal(holds.limit(1), 10)
  t.equal(store.get('1/connected')!.deadlineMs, now + 20_000, 'a second restart adds nothing')
  clock.advance(19_000)
  t.equal(holds.limit(1), Infinity)
  clock.advance(1000)
  t.equal(store.size, 0)
})
