import { freeMemory } from './free-memory.ts'

/** Sizes are rounded up to this, so that what one segment has left is large enough for the next. */
const stepBytes = 256 * 1024
/** Small objects have their steps, too, or a thousand of them would have a quarter of a megabyte each. */
const smallStepBytes = 16 * 1024

/**
 * Memory for segments that is used again. Of what the garbage collector is to free, it lets some
 * 64 MiB gather in each thread before it looks.
 */
export class SpareMemory {
  readonly #bytesMax: number
  readonly #drop: (memory: Uint8Array) => void
  #spares: ArrayBuffer[] = []
  #bytes = 0

  /** Keeps so much for later; what is given beyond goes to `drop`. */
  constructor(bytesMax: number, drop: (memory: Uint8Array) => void = freeMemory) {
    this.#bytesMax = bytesMax
    this.#drop = drop
  }

  /** What waits to be used again. */
  get bytes(): number {
    return this.#bytes
  }

  /** With whatever was in it before. */
  take(size: number): Buffer {
    let best = -1
    for (const [index, { byteLength }] of this.#spares.entries()) {
      const isBetter = best < 0 || byteLength < this.#spares[best]!.byteLength
      // A large one for a small one would be missing for the next large one.
      if (byteLength >= size && byteLength <= 4 * size && isBetter) best = index
    }
    if (best < 0) return newMemory(size)
    const [memory] = this.#spares.splice(best, 1)
    this.#bytes -= memory!.byteLength
    return Buffer.from(memory!, 0, size)
  }

  /** What `take` answered with, here or in another thread. Nobody may look at it from now on. */
  give({ buffer }: Uint8Array): void {
    const memory = buffer as ArrayBuffer
    this.#spares.push(memory)
    this.#bytes += memory.byteLength
    // Of those that have waited longest the sizes are not asked for any more.
    while (this.#bytes > this.#bytesMax) {
      const dropped = this.#spares.shift()!
      this.#bytes -= dropped.byteLength
      this.#drop(new Uint8Array(dropped))
    }
  }
}

function newMemory(size: number): Buffer {
  const step = size < stepBytes ? smallStepBytes : stepBytes
  return Buffer.allocUnsafeSlow(Math.ceil(size / step) * step).subarray(0, size)
}
