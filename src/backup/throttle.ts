import type { Clock } from '../clock.ts'
import { pause } from './pause.ts'

/** What may have been saved up by doing less than is allowed. */
const burstMs = 1_000

/**
 * A token bucket: lets through so much a second on average, of whatever is counted. Whoever takes is
 * served in the order of arrival. An amount greater than the bucket goes through at once when its
 * turn has come, and is paid for by those behind it. So in any time span of `t` seconds at most
 * `(t + 1) * perSecond`, and one amount more, go through.
 */
export class Throttle {
  readonly #perSecond: number
  readonly #clock: Clock
  /** When all that was taken so far will be paid for, on the clock's monotonic scale. */
  #paidMs = -Infinity

  constructor(perSecond: number, clock: Clock) {
    if (!(perSecond > 0)) throw new RangeError('a throttle that lets nothing through')
    this.#perSecond = perSecond
    this.#clock = clock
  }

  /** Resolves when `amount` may go through; rejects if `signal` ends the wait. */
  async take(amount: number, signal?: AbortSignal): Promise<void> {
    const nowMs = this.#clock.monotonicMs()
    const turnMs = this.#charge(amount, nowMs)
    if (turnMs <= nowMs) return
    await pause(this.#clock, turnMs - nowMs, signal)
    signal?.throwIfAborted()
  }

  /** For what cannot wait: it goes through now, and whoever takes later waits for it. */
  charge(amount: number): void {
    this.#charge(amount, this.#clock.monotonicMs())
  }

  /** Answers with when the turn of this amount is. */
  #charge(amount: number, nowMs: number): number {
    const turnMs = Math.max(this.#paidMs, nowMs - burstMs)
    this.#paidMs = turnMs + (amount / this.#perSecond) * 1000
    return turnMs
  }
}
