/**
 * Whose turn it is to read from disk, among the backfills of one connection. A turn is a slab: it
 * lasts from asking for it until it has been sent, so that no more than `turnsMax` slabs are in
 * memory, however many vbuckets are streamed; and none begins while the connection has no room for
 * the slab, so that a client that takes nothing costs what its output may hold. Round robin: a slab
 * each; sequential: the oldest backfill until it is done.
 *
 * Small vbuckets share a turn: asked for one by one, a thousand of them would cost more to ask for
 * than to read. How many is found out by trying: what the slab had no room for waits again.
 */
import type { Scan } from '../storage/pin.ts'
import type { ScanSlab } from '../storage/snapshot.ts'
import type { ReadSlots } from './read-slots.ts'

export type BackfillOrder = 'round-robin' | 'sequential'

const turnsMax = 4
/** Backfills that share a turn. */
const sharersMax = 16

export interface ScanTurnsOptions {
  reads: ReadSlots
  /** Whether the connection has room for what so many slabs under way will bring. */
  hasRoomFor: (slabs: number) => boolean
  /** Fills a slab from as many of the scans as it has room for, in their order. */
  read: (scans: readonly Scan[]) => Promise<ScanSlab[]>
}

export interface TurnTaker {
  /** What is to be read for it. */
  readonly scan: Scan
  /** Its part of a slab is here; `again` or `end` say that it has been sent. */
  arrived(slab: ScanSlab): void
  readFailed(error: unknown): void
}

/** One slab, and how many have not sent their part of it yet. */
interface Turn {
  sharers: number
}

export class ScanTurns {
  order: BackfillOrder = 'round-robin'
  readonly #options: ScanTurnsOptions
  readonly #retry = () => this.#grant()
  readonly #waiting = new Set<TurnTaker>()
  readonly #reading = new Map<TurnTaker, Turn>()
  /** In the order of their beginning, for `sequential`. */
  readonly #backfills = new Set<TurnTaker>()
  #turns = 0
  /** How many backfills the next turn is for. */
  #sharers = sharersMax

  constructor(options: ScanTurnsOptions) {
    this.#options = options
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

  /** Its part of the slab has been sent; it wants another. */
  again(taker: TurnTaker): void {
    this.#leaveTurn(taker)
    if (this.#backfills.has(taker)) this.#waiting.add(taker)
    this.#grant()
  }

  /** Nothing more to read. Idempotent. */
  end(taker: TurnTaker): void {
    this.#backfills.delete(taker)
    this.#waiting.delete(taker)
    this.#leaveTurn(taker)
    this.#grant()
  }

  #grant(): void {
    while (this.#turns < turnsMax && this.#mayTake()) {
      const { reads, hasRoomFor } = this.#options
      if (!hasRoomFor(this.#turns + 1) || !reads.take(this.#retry)) return
      void this.#take(this.#next())
    }
  }

  /** Whether there is somebody whose turn it may be. */
  #mayTake(): boolean {
    if (this.order === 'round-robin') return this.#waiting.size > 0
    for (const oldest of this.#backfills) return this.#waiting.has(oldest)
    return false
  }

  #next(): TurnTaker[] {
    const takers: TurnTaker[] = []
    for (const taker of this.order === 'round-robin' ? this.#waiting : this.#backfills) {
      if (this.#waiting.has(taker)) takers.push(taker)
      if (takers.length === this.#sharers) break
    }
    return takers
  }

  async #take(takers: readonly TurnTaker[]): Promise<void> {
    const turn: Turn = { sharers: takers.length }
    this.#turns++
    for (const taker of takers) {
      this.#waiting.delete(taker)
      this.#reading.set(taker, turn)
    }
    const { reads, read } = this.#options
    let parts: ScanSlab[] = []
    let failed: { error: unknown } | undefined
    try {
      parts = await read(takers.map(({ scan }) => scan))
    } catch (error) {
      failed = { error }
    }
    this.#adapt(takers.length, parts)
    reads.give()
    for (const [index, part] of parts.entries()) {
      const taker = takers[index]!
      // Who has ended meanwhile has left the turn.
      if (this.#reading.get(taker) === turn) taker.arrived(part)
      else part.free()
    }
    if (failed && this.#reading.get(takers[0]!) === turn) takers[0]!.readFailed(failed.error)
    for (const taker of takers.slice(Math.max(1, parts.length))) {
      if (this.#reading.get(taker) === turn) this.again(taker)
    }
  }

  /** As many as a slab had room for share the next turn; more, if all of them were read whole. */
  #adapt(asked: number, parts: readonly ScanSlab[]): void {
    if (parts.length < asked) this.#sharers = Math.max(1, parts.length)
    else if (asked === this.#sharers && parts.every(({ done }) => done)) {
      this.#sharers = Math.min(sharersMax, asked * 2)
    }
  }

  #leaveTurn(taker: TurnTaker): void {
    const turn = this.#reading.get(taker)
    if (turn === undefined) return
    this.#reading.delete(taker)
    if (--turn.sharers === 0) this.#turns--
  }
}
