/**
 * Bounds what all connections together make the server hold: answers that clients leave unread,
 * and requests that arrive in part. The limit of one connection bounds that one; a thousand of
 * them would still add up.
 *
 *   below `softBytes`   a connection may hold `connectionBytesMax`
 *   from `softBytes`    a connection that holds anything gets nothing more
 *   from `hardBytes`    the connection that holds most is closed
 */
import type { Log } from '../log.ts'

/** A connection as the budget sees it. */
export interface Debtor {
  readonly id: number
  /** Bytes of memory held for it. */
  readonly chargedBytes: number
  evict(reason: string): void
}

export interface MemoryBudgetOptions {
  readonly connectionBytesMax: number
  readonly softBytes: number
  readonly hardBytes: number
  /** What the client with most of it does, for the log and as the reason of closing. */
  readonly fault: string
  readonly log: Log
}

export class MemoryBudget {
  readonly connectionBytesMax: number
  readonly softBytes: number
  readonly hardBytes: number
  readonly #fault: string
  readonly #log: Log
  readonly #debtors = new Set<Debtor>()
  #totalBytes = 0
  /** Connections closed to stay within the budget. */
  evictions = 0

  constructor(options: MemoryBudgetOptions) {
    this.connectionBytesMax = options.connectionBytesMax
    this.softBytes = options.softBytes
    this.hardBytes = options.hardBytes
    this.#fault = options.fault
    this.#log = options.log
  }

  get totalBytes(): number {
    return this.#totalBytes
  }
  get debtors(): number {
    return this.#debtors.size
  }
  /** What a connection may hold now and still get more. */
  get allowanceBytes(): number {
    return this.#totalBytes < this.softBytes ? this.connectionBytesMax : 0
  }
  /**
   * Whether so many clients hold something that small answers are copied into buffers of their
   * size, rather than each keeping a whole slab.
   */
  get isCrowded(): boolean {
    return this.#debtors.size > 16
  }

  /** `bytes` is what `debtor` holds now, `before` what it had last been charged. */
  charge(debtor: Debtor, before: number, bytes: number): void {
    this.#totalBytes += bytes - before
    if (bytes > 0) this.#debtors.add(debtor)
    else this.#debtors.delete(debtor)
    while (this.#totalBytes >= this.hardBytes && this.#evictLargest());
  }

  #evictLargest(): boolean {
    let largest: Debtor | undefined
    for (const debtor of this.#debtors) {
      if (largest === undefined || debtor.chargedBytes > largest.chargedBytes) largest = debtor
    }
    if (largest === undefined) return false
    this.evictions++
    const { id: connection, chargedBytes: bytes } = largest
    const totalBytes = this.#totalBytes
    this.#log.warn({ connection, bytes, totalBytes }, `closing the client that ${this.#fault}`)
    largest.evict(this.#fault)
    return true
  }
}
