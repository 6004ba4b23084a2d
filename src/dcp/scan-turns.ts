/**
 * Whose turn it is to read from disk, among the backfills of one connection. A turn lasts from
 * asking for a slab until the slab has been sent, so that no more than `turnsMax` slabs are in
 * memory, however many vbuckets are streamed; and none begins while the connection has no room for
 * the slab, so that a client that takes nothing costs what its output may hold. Round robin: a slab
 * each; sequential: the oldest backfill until it is done.
 */
import type { ReadSlots } from './read-slots.ts'

export type BackfillOrder = 'round-robin' | 'sequential'

const turnsMax = 4

export interface ScanTurnsOptions {
  reads: ReadSlots
  /** Whether the connection has room for what so many slabs under way will bring. */
  hasRoomFor: (slabs: number) => boolean
}

export interface TurnTaker {
  /** It is its turn: read a slab, and say when it has arrived or will not. */
  takeTurn(): void
}

export class ScanTurns {
  order: BackfillOrder = 'round-robin'
  readonly #options: ScanTurnsOptions
  readonly #retry = () => this.#grant()
  readonly #waiting = new Set<TurnTaker>()
  readonly #reading = new Set<TurnTaker>()
  /** In the order of their beginning, for `sequential`. */
  readonly #backfills = new Set<TurnTaker>()

  constructor(options: ScanTurnsOptions) {
    this.#options = options
  }

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

  /** The connection may have room again. */
  resume(): void {
    if (this.#waiting.size > 0) this.#grant()
  }

  /** A slab that was asked for is here, or reading it has failed. */
  arrived(): void {
    this.#options.reads.give()
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
      const { reads, hasRoomFor } = this.#options
      if (!hasRoomFor(this.#reading.size + 1) || !reads.take(this.#retry)) return
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
