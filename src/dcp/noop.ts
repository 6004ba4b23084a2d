/**
 * Finds dead peers. While a connection that asked for it has streams, a no-op is sent every
 * interval; if one stays unanswered for another interval and nothing else came from the client
 * either, the peer is dead: two intervals of silence at most.
 *
 * An answered no-op also proves that the client has read everything sent before it.
 */

export class NoopTimer {
  enabled = false
  intervalMs: number
  #sentAtMs: number | undefined
  #sentPosition = 0
  #quietSinceMs: number | undefined
  #heardAtMs = 0
  #opaque = 0
  #answeredPosition = 0

  constructor(intervalMs: number) {
    this.intervalMs = intervalMs
  }

  /** Everything sent before this position has been read by the client. */
  get answeredPosition(): number {
    return this.#answeredPosition
  }

  /** Any request or answer of the client shows that it lives. */
  heard(nowMs: number): void {
    this.#heardAtMs = nowMs
  }

  /** What to do now; after 'send' the caller sends the no-op and calls `sent`. */
  due(nowMs: number, hasStreams: boolean): 'none' | 'send' | 'dead' {
    if (!this.enabled) return 'none'
    if (this.#sentAtMs !== undefined) {
      const silentSince = Math.max(this.#sentAtMs, this.#heardAtMs)
      return nowMs - silentSince >= this.intervalMs ? 'dead' : 'none'
    }
    if (!hasStreams) {
      this.#quietSinceMs = undefined
      return 'none'
    }
    this.#quietSinceMs ??= nowMs
    return nowMs - this.#quietSinceMs >= this.intervalMs ? 'send' : 'none'
  }

  /** A no-op goes out behind `position` bytes of stream frames, with the opaque returned. */
  sent(nowMs: number, position: number): number {
    this.#sentAtMs = nowMs
    this.#quietSinceMs = nowMs
    this.#sentPosition = position
    this.#opaque = (this.#opaque + 1) >>> 0
    return this.#opaque
  }

  /** False for an answer to a no-op that is not under way. */
  answered(opaque: number, nowMs: number): boolean {
    this.heard(nowMs)
    if (this.#sentAtMs === undefined || opaque !== this.#opaque) return false
    this.#sentAtMs = undefined
    this.#answeredPosition = this.#sentPosition
    return true
  }
}
