import { keyHashOf } from '../archive/key-filter.ts'
import type { ArchiveRecord } from '../archive/record.ts'

/**
 * Which records of a row are the last of their key and collection. The keys of one pass are in memory:
 * where there are more, several passes look at a share of them each.
 */
export class NewestRecords {
  /** A bit for each record, in their order. */
  readonly #isNewest: Uint8Array
  readonly #passes: number

  private constructor(records: number, passes: number) {
    this.#isNewest = new Uint8Array(Math.ceil(records / 8))
    this.#passes = passes
  }

  /** `read` is called once for each pass, and answers all records, in blocks. */
  static async find(options: {
    /** How many records there are. */
    records: number
    /** That may be in memory at a time. */
    keysMax: number
    read: () => AsyncIterable<readonly ArchiveRecord[]>
  }): Promise<NewestRecords> {
    const { records, keysMax, read } = options
    const passes = passesFor(records, keysMax)
    const newest = new NewestRecords(records, passes)
    for (let pass = 0; pass < passes; pass++) await newest.#look(pass, read())
    return newest
  }

  isNewest(index: number): boolean {
    return ((this.#isNewest[index >>> 3]! >>> (index & 7)) & 1) === 1
  }

  async #look(pass: number, blocks: AsyncIterable<readonly ArchiveRecord[]>): Promise<void> {
    const lastOf = new Map<string, number>()
    let index = 0
    for await (const records of blocks)
      for (const { collectionId, key } of records) {
        const at = index++
        if (this.#passes > 1 && (keyHashOf(collectionId, key) >>> 0) % this.#passes !== pass)
          continue
        const name = `${collectionId} ${key.toString('latin1')}`
        const before = lastOf.get(name)
        if (before !== undefined) this.#isNewest[before >>> 3]! &= ~(1 << (before & 7))
        this.#isNewest[at >>> 3]! |= 1 << (at & 7)
        lastOf.set(name, at)
      }
  }
}

/** How often all records are read before it is known. */
export function passesFor(records: number, keysMax: number): number {
  return Math.max(1, Math.ceil(records / keysMax))
}
