/**
 * Up to where a client is known to have received what was sent to it. Bytes that the kernel has
 * taken are not received: they may lie in a buffer of a link that is dead, or of a client that has
 * not come to them yet.
 *
 * With flow control only what the client acknowledged counts, however long ago it was sent: the
 * acknowledgement says that it is done with the bytes, which neither time nor an answered no-op
 * does. Without flow control the grace must have passed since the kernel took them and, for a
 * client that answers no-ops, it must have answered one that was sent behind them.
 */
export interface Proofs {
  /** Of flow control; 0: there is none. */
  readonly window: number
  /** Acknowledged by flow control. */
  readonly acked: number
  /** Of the last no-op that was answered; Infinity for a connection on which none are sent. */
  readonly answered: number
}

export class Receipts {
  readonly #graceMs: number
  readonly #intervalMs: number
  /** Oldest first: the kernel had taken everything before `position` at `atMs`. */
  readonly #handedOver: { atMs: number; position: number }[] = []
  #old = 0

  constructor(graceMs: number) {
    this.#graceMs = graceMs
    this.#intervalMs = graceMs / 64
  }

  /** Notes what the kernel has taken by now. */
  sample(nowMs: number, takenPosition: number): void {
    const last = this.#handedOver.at(-1)
    if (last !== undefined && takenPosition <= last.position) return
    if (last !== undefined && nowMs - last.atMs < this.#intervalMs) return
    this.#handedOver.push({ atMs: nowMs, position: takenPosition })
  }

  /** Everything sent before this position has been received. */
  position(nowMs: number, proofs: Proofs): number {
    while (this.#handedOver.length > 0 && this.#handedOver[0]!.atMs + this.#graceMs <= nowMs) {
      this.#old = this.#handedOver.shift()!.position
    }
    const { window, acked, answered } = proofs
    return window > 0 ? acked : Math.max(acked, Math.min(this.#old, answered))
  }
}
