import { freeMemory } from '../free-memory.ts'

/**
 * Memory for blocks of records that is used again, by all vbuckets of a backup together: most of them
 * are small, and a block is as large for them. Memory outside of the heap that only the garbage collector frees is
 * freed late.
 */
export class SpareBlocks {
  readonly blockBytes: number
  readonly #countMax: number
  readonly #spares: Buffer[] = []

  constructor(blockBytes: number, countMax: number) {
    this.blockBytes = blockBytes
    this.#countMax = countMax
  }

  /** With whatever was in it before. */
  take(): Buffer {
    return this.#spares.pop() ?? Buffer.allocUnsafeSlow(this.blockBytes)
  }

  /** Nobody may look at it from now on: one of another size, or one too many, is freed. */
  give(block: Buffer): void {
    if (block.length === this.blockBytes && this.#spares.length < this.#countMax)
      this.#spares.push(block)
    else freeMemory(block)
  }
}
