/** Callbacks that wait for a position of the change log to be passed, in the order of the log. */
interface Waiter {
  readonly position: number
  readonly done: () => void
}

/** Those that have been called are cut off when there are so many. */
const calledMax = 4096

export class PositionWaiters {
  #waiters: Waiter[] = []
  #first = 0

  get isEmpty(): boolean {
    return this.#first === this.#waiters.length
  }

  /** Positions never go back. */
  add(position: number, done: () => void): void {
    this.#waiters.push({ position, done })
  }

  passed(position: number): void {
    const waiters = this.#waiters
    let next = this.#first
    while (next < waiters.length && waiters[next]!.position <= position) waiters[next++]!.done()
    this.#first = next
    if (next === waiters.length || next > calledMax) {
      this.#waiters = waiters.slice(next)
      this.#first = 0
    }
  }
}
