import type { Clock, Timer } from '../../../src/clock.ts'

interface Due {
  atMs: number
  everyMs: number | undefined
  callback: () => void
}

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  #ms = 1_000_000_000_000
  readonly #timers = new Set<Due>()

  nowMs(): number {
    return this.#ms
  }

  monotonicMs(): number {
    return this.#ms - 999_999_000_000
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#add({ atMs: this.#ms + delayMs, everyMs: undefined, callback })
  }

  every(intervalMs: number, callback: () => void): Timer {
    return this.#add({ atMs: this.#ms + intervalMs, everyMs: intervalMs, callback })
  }

  /** Moves on, running what falls due on the way in its order. */
  advance(ms: number): void {
    const end = this.#ms + ms
    for (;;) {
      const next = [...this.#timers]
        .filter(due => due.atMs <= end)
        .toSorted((one, other) => one.atMs - other.atMs)[0]
      if (next === undefined) break
      this.#ms = next.atMs
      if (next.everyMs === undefined) this.#timers.delete(next)
      else next.atMs += next.everyMs
      next.callback()
    }
    this.#ms = end
  }

  #add(due: Due): Timer {
    this.#timers.add(due)
    return { cancel: () => this.#timers.delete(due) }
  }
}
