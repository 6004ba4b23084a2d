/**
 * Lets few password checks run at a time. Each takes a thread of the pool for some milliseconds,
 * and whoever has no password can ask for as many as there may be connections.
 */
export class DerivationTurns {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(max: number) {
    this.#free = max
  }

  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#free === 0) await new Promise<void>(resolve => void this.#waiting.push(resolve))
    else this.#free--
    try {
      return await work()
    } finally {
      // The turn passes on without having been free, so that nobody comes in between.
      const next = this.#waiting.shift()
      if (next === undefined) this.#free++
      else next()
    }
  }
}
