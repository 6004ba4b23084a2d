/**
 * What Linux is told of memory and Node.js has no call for: `madvise`, by a library. Advice changes
 * nothing of what memory holds.
 */
const pageBytes = 4096

/** As Linux numbers it (madvise(2)). */
const advice = { dontNeed: 4, hugePage: 14, cold: 20 } as const

type Advise = (address: number, length: number, advice: number) => number
type AddressOf = (memory: Uint8Array, source: Uint8Array, length: number) => number | bigint

export class MemoryAdvice {
  readonly #madvise: Advise
  readonly #addressOf: AddressOf

  private constructor(madvise: Advise, addressOf: AddressOf) {
    this.#madvise = madvise
    this.#addressOf = addressOf
  }

  static #loading: Promise<MemoryAdvice> | undefined

  /** Loads the library when it is asked for first: small daemons never do. Linux only. */
  static load(): Promise<MemoryAdvice> {
    this.#loading ??= import('koffi').then(({ default: koffi }) => {
      const library = koffi.load(null)
      const madvise = library.func('madvise', 'int', ['uintptr_t', 'size_t', 'int'])
      // Moves nothing, and returns where it would have moved it to.
      const addressOf = library.func('memmove', 'uintptr_t', ['void *', 'void *', 'size_t'])
      return new MemoryAdvice(madvise, addressOf)
    })
    return this.#loading
  }

  /** Takes pages of a file out of the map; they are the first to go when others need memory. */
  giveBack(address: number, length: number): void {
    this.#madvise(address, length, advice.cold)
    this.#madvise(address, length, advice.dontNeed)
  }

  /**
   * Memory that is read all over: in large pages the processor finds the places quicker. It takes
   * effect on what has not been touched yet, and some time later on the rest.
   */
  useLargePages(memory: ArrayBufferLike): void {
    const bytes = new Uint8Array(memory)
    const address = Number(this.#addressOf(bytes, bytes, 0))
    const start = address - (address % pageBytes)
    const end = Math.ceil((address + bytes.length) / pageBytes) * pageBytes
    this.#madvise(start, end - start, advice.hugePage)
  }
}
