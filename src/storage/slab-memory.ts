/**
 * Memory for slabs, all of one size, shared by the main thread and the backfill thread. Slabs are
 * used again once they have been sent. Were each of them new, or handed back and forth as memory that
 * only one thread has at a time, the garbage collectors of both threads would count every slab as so
 * much garbage, and stop them several times a second.
 */
const idleMax = 8
const slabBytesMin = 4096

export class SlabMemory {
  #idle: SharedArrayBuffer[] = []

  /** One with room for so many bytes. */
  take(bytes: number): SharedArrayBuffer {
    const slabBytes = Math.max(bytes, slabBytesMin)
    const memory = this.#idle.pop()
    if (memory?.byteLength === slabBytes) return memory
    this.forget()
    return new SharedArrayBuffer(slabBytes)
  }

  give(memory: SharedArrayBuffer): void {
    if (this.#idle.length < idleMax) this.#idle.push(memory)
  }

  /** Nobody reads any more. */
  forget(): void {
    this.#idle = []
  }
}
