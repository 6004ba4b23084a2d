/**
 * A pin shows all vbuckets of its environment, which takes a millisecond to read. So one that nobody
 * uses any more stays for a moment: a client that streams one vbucket after the other would need a new
 * one for each. At most one for each environment.
 */
import type { Clock, Timer } from '../clock.ts'
import type { Pin } from './pin.ts'

/** So long it waits for the next who comes. */
const idleMs = 250

interface IdlePin {
  readonly pin: Pin
  readonly timer: Timer
}

export class IdlePins {
  readonly #clock: Clock
  readonly #end: (pin: Pin) => void
  readonly #idle = new Map<number, IdlePin>()

  /** `end` is called for each that has waited in vain. */
  constructor(clock: Clock, end: (pin: Pin) => void) {
    this.#clock = clock
    this.#end = end
  }

  keep(pin: Pin): void {
    const { environment } = pin
    this.#endIn(environment)
    const timer = this.#clock.after(idleMs, () => this.#endIn(environment))
    this.#idle.set(environment, { pin, timer })
  }

  /** It is used again, if it was idle. */
  use(pin: Pin): void {
    const idle = this.#idle.get(pin.environment)
    if (idle?.pin !== pin) return
    idle.timer.cancel()
    this.#idle.delete(pin.environment)
  }

  /** All pins are ended by others. */
  close(): void {
    for (const { timer } of this.#idle.values()) timer.cancel()
    this.#idle.clear()
  }

  #endIn(environment: number): void {
    const idle = this.#idle.get(environment)
    if (idle === undefined) return
    this.#idle.delete(environment)
    idle.timer.cancel()
    this.#end(idle.pin)
  }
}
