/** Work that comes back at an interval, such as purging: each kind never twice at a time. */
import type { Clock, Timer } from '../clock.ts'
import type { Log } from '../log.ts'

export class Passes {
  readonly #clock: Clock
  readonly #log: Log
  readonly #timers: Timer[] = []
  readonly #running = new Set<Promise<void>>()
  #isStopped = false

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  every(seconds: number, pass: () => Promise<void>): void {
    let running: Promise<void> | undefined
    const timer = this.#clock.every(seconds * 1000, () => {
      if (running || this.#isStopped) return
      running = pass()
        .catch(error => {
          // What a stop cut short is no failure.
          if (!this.#isStopped) this.#log.error({ error: String(error) }, 'a pass failed')
        })
        .finally(() => {
          this.#running.delete(running!)
          running = undefined
        })
      this.#running.add(running)
    })
    this.#timers.push(timer)
  }

  /** No new pass begins. */
  stop(): void {
    this.#isStopped = true
    for (const timer of this.#timers) timer.cancel()
  }

  /** Resolves when the passes under way have ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#running)
  }
}
