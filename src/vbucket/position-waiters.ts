/** Callbacks that wait for a position of the change log to be passed, in the order of the log. */

/** `error`: it is not known whether what was waited for will ever be. */
export type Reached = (error?: Error) => void

/** Those that have been called are cut off when there are so many. */
const calledMax = 4096

export class PositionWaiters {
  #positions: number[] = []
  /** One for each position. */
  #callbacks: Reached[] = []
  #first = 0

  get isEmpty(): boolean {
    return this.#first === this.#positions.length
  }

  /** Positions never go back. */
  add(position: number, done: Reached): void {
    this.#positions.push(position)
    this.#callbacks.push(done)
  }

  /** Nothing more will pass, or nobody can wait until it does. */
  fail(error: Error): void {
    const waiting = this.#callbacks.slice(this.#first)
    this.#forget(this.#positions.length)
    for (const done of waiting) done(error)
  }

  passed(position: number): void {
    // Whoever is called may wait anew, for what is farther on.
    const positions = this.#positions
    const callbacks = this.#callbacks
    let next = this.#first
    while (next < positions.length && positions[next]! <= position) callbacks[next++]!()
    this.#first = next
    if (next === positions.length || next > calledMax) this.#forget(next)
  }

  #forget(count: number): void {
    this.#positions = this.#positions.slice(count)
    this.#callbacks = this.#callbacks.slice(count)
    this.#first = 0
  }
}
