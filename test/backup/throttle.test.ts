import fc from 'fast-check'
import t from 'tap'
import { Throttle } from '../../src/backup/throttle.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { ThrottledStore } from '../../src/backup/store/throttled-store.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { collect } from './store-suite.ts'

/** Lets everything run that waits for nothing but promises. */
const settle = () => new Promise(resolve => setImmediate(resolve))

interface Passed {
  readonly atMs: number
  readonly amount: number
  readonly number: number
}

/** The clock moves by steps of so much: what is let through within one seems to be so at its end. */
const stepMs = 100

async function move(clock: ManualClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= stepMs) {
    clock.advance(Math.min(left, stepMs))
    await settle()
  }
}

/** Whether in every time span between two of them at most a second's worth too much has passed. */
function isBounded(passed: readonly Passed[], rate: number): boolean {
  const greatest = Math.max(...passed.map(({ amount }) => amount))
  return passed.every((first, index) => {
    let sum = 0
    return passed.slice(index).every(({ atMs, amount }) => {
      sum += amount
      return sum <= ((atMs - first.atMs + stepMs) / 1000 + 1) * rate + greatest
    })
  })
}

t.test(
  'never more than it lets through, in no time span, and in the order of arrival',
  async () => {
    const arrivals = fc.array(
      fc.record({ afterMs: fc.nat(3_000), amount: fc.integer({ min: 1, max: 500 }) }),
      { minLength: 1, maxLength: 15 },
    )
    const property = fc.asyncProperty(
      fc.integer({ min: 50, max: 300 }),
      arrivals,
      async (rate, all) => {
        const clock = new ManualClock()
        const throttle = new Throttle(rate, clock)
        const passed: Passed[] = []
        for (const [number, { afterMs, amount }] of all.entries()) {
          await move(clock, afterMs)
          const pass = () => passed.push({ atMs: clock.monotonicMs(), amount, number })
          void throttle.take(amount).then(pass)
        }
        const total = all.reduce((sum, { amount }) => sum + amount, 0)
        await move(clock, (total / rate) * 1000 + stepMs)
        const inOrder = passed.every(({ number }, index) => number === index)
        return passed.length === all.length && inOrder && isBounded(passed, rate)
      },
    )
    await fc.assert(property, { numRuns: 60 })
  },
)

t.test('what was not used is saved up for a second, not for longer', async t => {
  const clock = new ManualClock()
  const throttle = new Throttle(10, clock)
  clock.advance(60_000)
  const passed: number[] = []
  for (let number = 0; number < 15; number++)
    void throttle.take(1).then(() => passed.push(clock.monotonicMs()))
  await settle()
  t.equal(passed.length, 11)
  clock.advance(99)
  await settle()
  t.equal(passed.length, 11)
  clock.advance(1)
  await settle()
  t.equal(passed.length, 12)
})

t.test('whoever is stopped does not wait', async t => {
  const throttle = new Throttle(1, new ManualClock())
  await throttle.take(1000)
  const stopping = new AbortController()
  const waiting = throttle.take(1, stopping.signal)
  stopping.abort(new Error('enough'))
  await t.rejects(waiting, { message: 'enough' })
})

t.test('a store lets parts wait, and documents pass', async t => {
  const clock = new ManualClock()
  const store = new ThrottledStore(new FileStore(t.testdir()), new Throttle(100, clock))
  const bytes = Buffer.alloc(1000)
  const content = { chunks: [bytes], size: bytes.length, sha256: '0'.repeat(64) }
  const upload = await store.createUpload('a', 'token')
  const first = await store.putPart(upload, 1, content)
  let second: unknown
  const waiting = store.putPart(upload, 2, content).then(part => (second = part))
  // The lock's heartbeat, for example.
  await store.put('document', Buffer.from('{}'))
  await settle()
  t.equal(second, undefined)
  clock.advance(9_000)
  await waiting
  await store.completeUpload(upload, [first, second as typeof first])
  clock.advance(60_000)
  const read = collect(store.read('a'))
  t.equal(Buffer.concat(await read).length, 2000)
  const again = collect(store.read('a'))
  await settle()
  await store.close()
  await t.rejects(again, { code: 'interrupted' })
})
