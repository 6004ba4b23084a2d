/**
 * Purge holds: for a vbucket, the seqnos that its purge seqno must not pass, by holder. A durable
 * hold is stored too, so that it outlives the daemon: a client that returns after a crash finds
 * the tombstones it has not seen yet still there.
 *
 * What is stored may lag behind what is held in memory: a hold only ever moves forward, and a
 * stored one that is too low keeps more than it must, never less. A new one is stored in a moment, with
 * those of other streams that its client opens; one that moves backwards, for a client that has lost
 * something, at once.
 */
import type { Clock, Timer } from '../clock.ts'
import type { DurableHold } from './flusher-messages.ts'

/** So long new holds gather: each commit is for all streams that were opened meanwhile. */
const newHoldsMs = 25

export interface PurgeHold extends DurableHold {
  vbid: number
  holder: string
  durable: boolean
}

export interface HoldOptions {
  clock: Clock
  /** Grace of a durable hold whose deadline was not known when the daemon died. */
  graceMs: number
  storeIntervalMs: number
  store: (vbid: number, holder: string, hold: DurableHold | undefined) => void
}

export class PurgeHolds {
  readonly #options: HoldOptions
  readonly #holds = new Map<number, Map<string, PurgeHold>>()
  readonly #unstored = new Map<string, { vbid: number; holder: string }>()
  readonly #timer: Timer
  #newHolds: Timer | undefined

  constructor(options: HoldOptions, stored: Iterable<PurgeHold> = []) {
    this.#options = options
    for (const hold of stored) {
      // Its client lost the connection when the daemon did: its grace begins now.
      const deadlineMs = hold.deadlineMs ?? options.clock.nowMs() + hold.graceMs
      this.#put({ ...hold, deadlineMs })
      this.#unstored.set(`${hold.vbid}/${hold.holder}`, hold)
    }
    this.#timer = options.clock.every(options.storeIntervalMs, () => {
      this.#sweep()
      this.#storeChanges()
    })
  }

  /**
   * Makes or moves a hold. `deadlineMs` is milliseconds since the epoch, `Infinity` while the
   * client is connected. From `lapsesAtMs` on it holds nothing back, but is remembered until the
   * deadline.
   */
  set(
    vbid: number,
    holder: string,
    seqno: number,
    deadlineMs: number,
    durable: boolean,
    graceMs: number = this.#options.graceMs,
    lapsesAtMs: number | null = null,
  ): void {
    const before = this.#holds.get(vbid)?.get(holder)
    const deadline = deadlineMs === Infinity ? null : deadlineMs
    this.#put({ vbid, holder, seqno, deadlineMs: deadline, durable, graceMs, lapsesAtMs })
    if (!durable && !before?.durable) return
    this.#unstored.set(`${vbid}/${holder}`, { vbid, holder })
    if (before?.durable && seqno < before.seqno) this.#storeChanges()
    else if (!before?.durable) this.#storeSoon()
  }

  /** What a holder holds of a vbucket, lapsed or not. */
  of(vbid: number, holder: string): PurgeHold | undefined {
    const hold = this.#holds.get(vbid)?.get(holder)
    return hold === undefined || isOver(hold, this.#options.clock.nowMs()) ? undefined : hold
  }

  /** A hold with a deadline gets an earlier one; that of a connected client has none, and stays. */
  endBy(vbid: number, holder: string, deadlineMs: number): void {
    const hold = this.#holds.get(vbid)?.get(holder)
    if (hold === undefined || hold.deadlineMs === null || hold.deadlineMs <= deadlineMs) return
    hold.deadlineMs = deadlineMs
    if (hold.durable) this.#unstored.set(`${vbid}/${holder}`, { vbid, holder })
  }

  /** Idempotent. */
  release(vbid: number, holder: string): void {
    const holds = this.#holds.get(vbid)
    const hold = holds?.get(holder)
    if (holds === undefined || hold === undefined) return
    holds.delete(holder)
    if (holds.size === 0) this.#holds.delete(vbid)
    if (hold.durable) this.#unstored.set(`${vbid}/${holder}`, { vbid, holder })
  }

  /** The vbucket is gone or has been emptied. */
  releaseAll(vbid: number): void {
    for (const holder of this.#holds.get(vbid)?.keys() ?? []) this.release(vbid, holder)
  }

  /** The greatest purge seqno that every hold allows; Infinity without one. */
  limit(vbid: number): number {
    const holds = this.#holds.get(vbid)
    if (holds === undefined) return Infinity
    const now = this.#options.clock.nowMs()
    let limit = Infinity
    for (const hold of holds.values()) {
      if (isOver(hold, now)) this.release(vbid, hold.holder)
      else if (now < (hold.lapsesAtMs ?? Infinity)) limit = Math.min(limit, hold.seqno)
    }
    return limit
  }

  list(): PurgeHold[] {
    return [...this.#holds.values()].flatMap(holds => [...holds.values()])
  }

  /** Hands what is not stored yet to the store, for a clean stop. */
  close(): void {
    this.#timer.cancel()
    this.#newHolds?.cancel()
    this.#storeChanges()
  }

  #put(hold: PurgeHold): void {
    let holds = this.#holds.get(hold.vbid)
    if (holds === undefined) this.#holds.set(hold.vbid, (holds = new Map()))
    holds.set(hold.holder, hold)
  }

  /** No purge may ever ask for the vbucket of a hold again: those that are over go by themselves. */
  #sweep(): void {
    const now = this.#options.clock.nowMs()
    for (const [vbid, holds] of this.#holds) {
      for (const hold of holds.values()) if (isOver(hold, now)) this.release(vbid, hold.holder)
    }
  }

  #storeSoon(): void {
    this.#newHolds ??= this.#options.clock.after(newHoldsMs, () => {
      this.#newHolds = undefined
      this.#storeChanges()
    })
  }

  #storeChanges(): void {
    for (const { vbid, holder } of this.#unstored.values()) {
      const hold = this.#holds.get(vbid)?.get(holder)
      const { store } = this.#options
      if (!hold?.durable) store(vbid, holder, undefined)
      else {
        const { seqno, deadlineMs, graceMs, lapsesAtMs } = hold
        const lapses = lapsesAtMs === null || lapsesAtMs === undefined ? {} : { lapsesAtMs }
        store(vbid, holder, { seqno, deadlineMs, graceMs, ...lapses })
      }
    }
    this.#unstored.clear()
  }
}

function isOver({ deadlineMs }: PurgeHold, now: number): boolean {
  return deadlineMs !== null && deadlineMs <= now
}
