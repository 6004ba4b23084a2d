/**
 * The memory of the change log's segments. Shared memory is freed when the collectors of all
 * threads that saw it have found that nobody refers to it; but they do not count it, and the
 * flusher's thread makes so little garbage that its collector hardly ever runs. What is given up
 * would be lost for hours, so it is kept and used again: there is never more of it than was in use
 * at one time.
 */
import type { LargePages } from '../storage/large-pages.ts'

export class SegmentMemory {
  readonly #largePages: LargePages
  readonly #spares = new Set<SharedArrayBuffer>()
  /** In use or not. */
  readonly all: SharedArrayBuffer[] = []

  constructor(largePages: LargePages) {
    this.#largePages = largePages
  }

  /** Of at least this length, with whatever it held last. */
  take(bytes: number): SharedArrayBuffer {
    const spare = this.#smallest(bytes)
    if (spare === undefined) return this.#new(powerOfTwo(bytes))
    this.#spares.delete(spare)
    return spare
  }

  #new(bytes: number): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(bytes)
    this.#largePages.useFor(memory)
    this.all.push(memory)
    return memory
  }

  giveBack(memory: SharedArrayBuffer): void {
    this.#spares.add(memory)
  }

  #smallest(bytes: number): SharedArrayBuffer | undefined {
    let best: SharedArrayBuffer | undefined
    for (const spare of this.#spares) {
      if (spare.byteLength < bytes) continue
      if (best === undefined || spare.byteLength < best.byteLength) best = spare
    }
    return best
  }
}

/** So that large records of many lengths can have each other's memory. */
function powerOfTwo(bytes: number): number {
  return 2 ** Math.ceil(Math.log2(bytes))
}
