/**
 * Whether a vbucket takes writes: open, paused by someone until a deadline, or closed. One object
 * per vbucket, so that failover and moves close the same door that every write goes through.
 */
import { Status } from '../../protocol/status.ts'

export type GateState = 'open' | 'paused' | 'closed'

/** What a write is answered. */
const statusOf = {
  open: Status.success,
  paused: Status.temporaryFailure,
  closed: Status.notMyVbucket,
} as const

export class WriteGate {
  #state: GateState
  #owner: string | undefined
  #deadlineMs = 0

  constructor(state: GateState) {
    this.#state = state
  }

  /** Whether writes pass now; a pause whose deadline has passed ends by itself. */
  state(nowMs: number): GateState {
    if (this.#state === 'paused' && nowMs >= this.#deadlineMs) this.resume(this.#owner!)
    return this.#state
  }

  /** Success, or why no write passes now. */
  status(nowMs: number): Status {
    return statusOf[this.state(nowMs)]
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  get owner(): string | undefined {
    return this.#owner
  }

  /** False when it is closed or someone else has paused it. */
  pause(owner: string, deadlineMs: number): boolean {
    if (this.#state === 'closed' || (this.#owner !== undefined && this.#owner !== owner)) {
      return false
    }
    this.#state = 'paused'
    this.#owner = owner
    this.#deadlineMs = deadlineMs
    return true
  }

  /** Only the owner of a pause ends it. */
  resume(owner: string): boolean {
    if (this.#state !== 'paused' || this.#owner !== owner) return false
    this.#state = 'open'
    this.#owner = undefined
    return true
  }

  open(): void {
    this.#state = 'open'
    this.#owner = undefined
  }

  close(): void {
    this.#state = 'closed'
    this.#owner = undefined
  }
}
