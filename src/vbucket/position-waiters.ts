/** Callbacks that wait for a position of the change log to be passed, in the order of the log. */

/** `error`: it is not known whether what was waited for will ever be. */
export type Reached = (error?: Error) => void

interface Waiter {
  readonly position: number
  readonly done: Reached
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
  add(position: number, done: Reached): void {
    this.#waiters.push({ position, done })
  }

  /** Nothing more will pass, or nobody can wait until it does. */
  fail(error: Error): void {
    const waiters = this.#waiters.slice(this.#first)
    this.#waiters = []
    this.#first = 0
    for (const { done } of waiters) done(error)
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
