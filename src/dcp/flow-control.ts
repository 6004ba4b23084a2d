/**
 * Flow control of one connection, in bytes of whole frames: everything sent in streams counts, the
 * no-op does not. Sending goes on while less than the window is unacknowledged, so that one message
 * may overshoot it: a window smaller than a message, or a client that acknowledges late, must not
 * bring the stream to a halt for ever.
 */
export class FlowControl {
  #window = 0
  #sentBytes = 0
  /** Where the sent bytes stood when the window was opened; what came before is never acked. */
  #base = 0
  #ackedBytes = 0

  /** 0: there is no flow control. */
  get window(): number {
    return this.#window
  }

  /** Bytes of stream frames since the connection was opened: a position in what was sent. */
  get sentBytes(): number {
    return this.#sentBytes
  }

  get unackedBytes(): number {
    return this.#window === 0 ? 0 : this.#sentBytes - this.#base - this.#ackedBytes
  }

  /** What may be sent now; a message that begins within it may end beyond it. */
  get roomBytes(): number {
    return this.#window === 0 ? Infinity : Math.max(0, this.#window - this.unackedBytes)
  }

  /**
   * The client has received everything before this position. Bytes arrive in order, so an
   * acknowledgement of anything also vouches for what was sent before flow control began.
   */
  get receivedPosition(): number {
    return this.#ackedBytes === 0 ? 0 : this.#base + this.#ackedBytes
  }

  open(windowBytes: number): void {
    if (this.#window === 0) {
      this.#base = this.#sentBytes
      this.#ackedBytes = 0
    }
    this.#window = windowBytes
  }

  sent(bytes: number): void {
    this.#sentBytes += bytes
  }

  /** A client cannot have received more than was sent: a greater acknowledgement is cut. */
  acknowledge(bytes: number): void {
    if (this.#window === 0) return
    this.#ackedBytes = Math.min(this.#sentBytes - this.#base, this.#ackedBytes + bytes)
  }
}
