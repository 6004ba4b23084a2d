/**
 * Up to where a client is known to have received what was sent to it. Bytes that the kernel has
 * taken are not received: they may lie in a buffer of a link that is dead.
 *
 * Two proofs count. The client acknowledged the bytes (flow control). Or: the grace has passed
 * since the kernel took them and, for a client that answers no-ops, it has answered one that was
 * sent behind them. The second serves clients without flow control, and the tail that clients with
 * flow control leave unacknowledged because they acknowledge at half of their window.
 */
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

  /**
   * Everything sent before this position has been received. `answeredPosition`: of the last no-op
   * that was answered; Infinity for a connection on which none are sent.
   */
  position(nowMs: number, ackedPosition: number, answeredPosition: number): number {
    while (this.#handedOver.length > 0 && this.#handedOver[0]!.atMs + this.#graceMs <= nowMs) {
      this.#old = this.#handedOver.shift()!.position
    }
    return Math.max(ackedPosition, Math.min(this.#old, answeredPosition))
  }
}
