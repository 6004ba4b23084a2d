/**
 * Bounds what all connections together leave unread. The limit of one connection bounds that one;
 * a thousand clients that ask and never read would still add up.
 *
 *   below `softBytes`   a connection may leave `outputBytesMax` unread
 *   from `softBytes`    a connection that leaves anything unread is not read from
 *   from `hardBytes`    the connection that leaves most unread is closed
 */
import type { Log } from '../log.ts'

/** A connection as the budget sees it. */
export interface Debtor {
  readonly id: number
  /** Bytes of memory held for answers that the client has not taken. */
  readonly chargedBytes: number
  evict(reason: string): void
}

export class OutputBudget {
  readonly softBytes: number
  readonly hardBytes: number
  /** What one connection may leave unread if all is well. */
  readonly connectionBytesMax: number
  readonly #log: Log
  readonly #debtors = new Set<Debtor>()
  #totalBytes = 0
  evictions = 0

  constructor(options: { outputBytesMax: number; log: Log }) {
    this.connectionBytesMax = options.outputBytesMax
    this.softBytes = options.outputBytesMax * 8
    this.hardBytes = options.outputBytesMax * 32
    this.#log = options.log
  }

  get totalBytes(): number {
    return this.#totalBytes
  }
  get debtors(): number {
    return this.#debtors.size
  }
  /** What a connection may leave unread now and still be read from. */
  get allowanceBytes(): number {
    return this.#totalBytes < this.softBytes ? this.connectionBytesMax : 0
  }
  /**
   * Whether so many clients lag that small answers are copied into buffers of their size, rather
   * than each keeping a whole slab.
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
    this.#log.warn(
      { connection: largest.id, unreadBytes: largest.chargedBytes, totalBytes: this.#totalBytes },
      'closing the client that leaves most answers unread, to bound memory',
    )
    largest.evict('answers unread')
    return true
  }
}
