import type { Clock } from '../clock.ts'

const spanMs = 10_000
const samplesMax = 64

interface Sample {
  readonly atMs: number
  readonly value: number
}

/** How fast a number grows, over the last ten seconds or so: what happened long ago tells little. */
export class RateMeter {
  readonly #clock: Clock
  #samples: Sample[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  add(value: number): void {
    const atMs = this.#clock.monotonicMs()
    this.#samples.push({ atMs, value })
    // The oldest one kept is just outside of the span.
    while (
      this.#samples.length > samplesMax ||
      (this.#samples.length > 2 && this.#samples[1]!.atMs <= atMs - spanMs)
    )
      this.#samples.shift()
  }

  /** A second; undefined while there is nothing to tell it by. */
  get perSecond(): number | undefined {
    const first = this.#samples[0]
    const last = this.#samples.at(-1)
    if (!first || !last || last.atMs <= first.atMs) return undefined
    return Math.max(0, last.value - first.value) / ((last.atMs - first.atMs) / 1000)
  }

  /** Seconds until it has grown by `left`; undefined if that cannot be told. */
  secondsFor(left: number): number | undefined {
    const rate = this.perSecond
    return rate === undefined || rate === 0 ? undefined : left / rate
  }
}
