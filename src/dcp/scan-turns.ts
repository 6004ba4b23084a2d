/**
 * Whose turn it is to read from disk, among the backfills of one connection. A turn lasts from
 * asking for a slab until the slab has been sent, so that no more than `turnsMax` slabs are in
 * memory, however many vbuckets are streamed. Round robin: a slab each; sequential: the oldest
 * backfill until it is done.
 */
export type BackfillOrder = 'round-robin' | 'sequential'

const turnsMax = 4

export interface TurnTaker {
  /** It is its turn: read a slab, then call `finish`. */
  takeTurn(): void
}

export class ScanTurns {
  order: BackfillOrder = 'round-robin'
  readonly #waiting = new Set<TurnTaker>()
  readonly #reading = new Set<TurnTaker>()
  /** In the order of their beginning, for `sequential`. */
  readonly #backfills = new Set<TurnTaker>()

  get waiting(): number {
    return this.#waiting.size
  }

  get reading(): number {
    return this.#reading.size
  }

  begin(taker: TurnTaker): void {
    this.#backfills.add(taker)
    this.#waiting.add(taker)
    this.#grant()
  }

  /** The slab of its turn has been sent; it wants another. */
  again(taker: TurnTaker): void {
    this.#reading.delete(taker)
    if (this.#backfills.has(taker)) this.#waiting.add(taker)
    this.#grant()
  }

  /** Nothing more to read. Idempotent. */
  end(taker: TurnTaker): void {
    this.#backfills.delete(taker)
    this.#waiting.delete(taker)
    this.#reading.delete(taker)
    this.#grant()
  }

  #grant(): void {
    while (this.#reading.size < turnsMax) {
      const next = this.#next()
      if (next === undefined) return
      this.#waiting.delete(next)
      this.#reading.add(next)
      next.takeTurn()
    }
  }

  #next(): TurnTaker | undefined {
    if (this.order === 'round-robin') {
      for (const taker of this.#waiting) return taker
      return undefined
    }
    for (const first of this.#backfills) return this.#waiting.has(first) ? first : undefined
    return undefined
  }
}
