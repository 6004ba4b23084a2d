/**
 * How many slabs may be on their way from disk at the same time, over all connections. The thread
 * that reads them does so one after the other: more would only be memory. What has arrived does not
 * count here, so that a client that takes nothing keeps nobody else from reading.
 */
export class ReadSlots {
  #free: number
  readonly #waiting = new Set<() => void>()

  constructor(count: number) {
    this.#free = count
  }

  /** Takes a slot; without one, `retry` is called when there may be. */
  take(retry: () => void): boolean {
    if (this.#free === 0) {
      this.#waiting.add(retry)
      return false
    }
    this.#free--
    return true
  }

  give(): void {
    this.#free++
    for (const retry of this.#waiting) {
      if (this.#free === 0) return
      this.#waiting.delete(retry)
      retry()
    }
  }
}
