/**
 * What Linux is told of memory and Node.js has no call for: `madvise`, by a library. Advice changes
 * nothing of what memory holds.
 */
const pageBytes = 4096

/** As Linux numbers it (madvise(2)). */
const advice = { dontNeed: 4, dontFork: 10, doFork: 11, hugePage: 14, cold: 20 } as const

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
    const [from, to] = this.#placeOf(memory)
    const start = Math.floor(from / pageBytes) * pageBytes
    const end = Math.ceil(to / pageBytes) * pageBytes
    this.#madvise(start, end - start, advice.hugePage)
  }

  /**
   * Runs `fork`, which starts a process: at first it has the memory of this one, but not what is named.
   * Before it runs its program it does not need it, and the tables of a gigabyte of pages take 20 to 40
   * ms to copy, in which nobody is served.
   */
  forkWithout<Result>(memory: Iterable<ArrayBufferLike>, fork: () => Result): Result {
    const left = [...memory].map(each => this.#placeOf(each))
    // Whole pages only: in the others may be what the process needs.
    const advise = (what: number) => {
      for (const [from, to] of left) {
        const start = Math.ceil(from / pageBytes) * pageBytes
        const end = Math.floor(to / pageBytes) * pageBytes
        if (end > start) this.#madvise(start, end - start, what)
      }
    }
    advise(advice.dontFork)
    try {
      return fork()
    } finally {
      advise(advice.doFork)
    }
  }

  #placeOf(memory: ArrayBufferLike): [from: number, to: number] {
    const bytes = new Uint8Array(memory)
    const from = Number(this.#addressOf(bytes, bytes, 0))
    return [from, from + bytes.length]
  }
}
