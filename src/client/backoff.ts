import type { Random } from '../random.ts'

export interface BackoffOptions {
  /** The pause before the second attempt (default 50). */
  firstMs?: number
  /** No pause is longer (default 5,000). */
  maxMs?: number
}

/**
 * Pauses between attempts: each about twice the last, up to a limit, and somewhere between half
 * and all of that, so that many clients that lost the same server do not come back in step.
 */
export class Backoff {
  readonly #firstMs: number
  readonly #maxMs: number
  readonly #random: Random
  #attempts = 0

  constructor(random: Random, options: BackoffOptions = {}) {
    this.#random = random
    this.#firstMs = options.firstMs ?? 50
    this.#maxMs = Math.max(this.#firstMs, options.maxMs ?? 5_000)
  }

  get attempts(): number {
    return this.#attempts
  }

  nextMs(): number {
    const fullMs = Math.min(this.#maxMs, this.#firstMs * 2 ** Math.min(this.#attempts, 30))
    this.#attempts++
    return fullMs * (0.5 + this.#random.fraction() / 2)
  }

  /** After a success. */
  reset(): void {
    this.#attempts = 0
  }
}
