/**
 * The memory of the change log's segments. Shared memory is freed when the collectors of all
 * threads that saw it have found that nobody refers to it; but they do not count it, and the
 * flusher's thread makes so little garbage that its collector hardly ever runs. What is given up
 * would be lost for hours, so it is kept and used again: there is never more of it than was in use
 * at one time.
 */
import type { LargePages } from '../storage/large-pages.ts'

interface Spare {
  readonly memory: SharedArrayBuffer
  /** From its beginning, what holds something. */
  readonly dirtyBytes: number
}

export class SegmentMemory {
  readonly #largePages: LargePages
  readonly #spares: Spare[] = []

  constructor(largePages: LargePages) {
    this.#largePages = largePages
  }

  /** All zeroes, of at least this length. */
  take(bytes: number): SharedArrayBuffer {
    const spare = this.#smallest(bytes)
    if (spare === undefined) return this.#new(powerOfTwo(bytes))
    this.#spares.splice(this.#spares.indexOf(spare), 1)
    new Uint8Array(spare.memory, 0, spare.dirtyBytes).fill(0)
    return spare.memory
  }

  #new(bytes: number): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(bytes)
    this.#largePages.useFor(memory)
    return memory
  }

  giveBack(memory: SharedArrayBuffer, dirtyBytes: number): void {
    this.#spares.push({ memory, dirtyBytes })
  }

  #smallest(bytes: number): Spare | undefined {
    let best: Spare | undefined
    for (const spare of this.#spares) {
      const { byteLength } = spare.memory
      if (byteLength < bytes) continue
      if (best === undefined || byteLength < best.memory.byteLength) best = spare
    }
    return best
  }
}

/** So that large records of many lengths can have each other's memory. */
function powerOfTwo(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(bytes))
}
