/**
 * CAS from a hybrid logical clock: 48 bits of nanoseconds since the epoch and 16 bits that count
 * on when the clock does not. Strictly growing per vbucket, across restarts too, since it never
 * falls behind the greatest CAS that was stored.
 *
 * A CAS from elsewhere that is so great that the clock could run over is refused, as everything
 * that is written after it must have a greater one.
 *
 * A CAS is two 32-bit halves here, because a bigint for every write would be an object for every
 * write; where speed does not matter it is a bigint.
 */
export const casMax = 2n ** 63n - 1n

export class CasClock {
  high = 0
  low = 0

  constructor(maxCas = 0n) {
    this.observe(maxCas)
  }

  get max(): bigint {
    return (BigInt(this.high) << 32n) | BigInt(this.low)
  }

  /** Moves on to the next CAS, which is then in `high` and `low`. */
  tick(nowMs: number): void {
    const nanoseconds = nowMs * 1e6
    const high = Math.floor(nanoseconds / 2 ** 32)
    // Not a remainder: of numbers beyond 32 bits that is a call of a library.
    const low = ((nanoseconds - high * 2 ** 32) & 0xffff0000) >>> 0
    if (high > this.high || (high === this.high && low > this.low)) {
      this.high = high
      this.low = low
    } else if (this.low === 0xffffffff) {
      this.high++
      this.low = 0
    } else this.low++
  }

  /** A CAS made elsewhere: later ones will be greater. */
  observe(cas: bigint): void {
    if (cas <= this.max) return
    this.high = Number(cas >> 32n)
    this.low = Number(cas & 0xffffffffn)
  }
}
