import type { Output } from '../commands/session.ts'

/** Enough for a turn's batches of small answers. */
export const slabBytes = 64 * 1024
/**
 * For an answer that is larger, of a client that is going to take it at once. What is even larger, or
 * of others, gets a buffer of its own.
 */
const largeSlabBytes = 256 * 1024

/** Takes what was encoded. */
export interface OutputTarget {
  /** Nothing is before it that it would have to wait for. */
  readonly takesAtOnce: boolean
  /**
   * `owned`: the bytes were allocated for this answer and may be kept. Otherwise they are a slab's,
   * and the result says whether it may be written to again.
   */
  deliver(bytes: Buffer, owned: boolean): boolean
}

/**
 * The one place where answers are encoded. It is opened for a connection when a batch of its
 * requests is run and closed after it, so that a batch leaves as one write. What the batches of one
 * turn of the event loop have brought is written at its end: a client that sleeps is woken up by
 * the first write to it, which takes the kernel longer than all the rest, and finds the others
 * there. The slab is used again if the kernel took it whole, which it does unless a client has
 * stopped reading.
 */
export class OutputSlab implements Output {
  buffer: Buffer = Buffer.allocUnsafeSlow(slabBytes)
  #slab = this.buffer
  /** Made when first wanted: memory that is used for the first time is slow. */
  #largeSlab: Buffer | undefined
  #used = 0
  #target: OutputTarget | undefined
  /** Where in the slab the batch begins that is open. */
  #begin = 0
  /**
   * Batches that wait for the end of the turn, and where in the slab each of them ends: the first
   * `#count`, as emptying an array would make it grow anew each time.
   */
  readonly #waiting: (OutputTarget | undefined)[] = []
  readonly #ends: number[] = []
  #count = 0
  #isEndAwaited = false

  /** Whom the bytes encoded now will reach; undefined between batches. */
  get target(): OutputTarget | undefined {
    return this.#target
  }

  open(target: OutputTarget): void {
    this.#target = target
  }

  /** `isFlushed`: the caller will flush it in this turn. */
  close(isFlushed = false): void {
    if (this.buffer !== this.#slab) this.flush()
    else if (this.#used > this.#begin) {
      this.#wait(this.#target!)
      if (!isFlushed) this.#awaitEnd()
    }
    this.#target = undefined
  }

  reserve(length: number): number {
    const at = this.#used
    if (at + length > this.buffer.length) return this.#reserveAnew(length)
    this.#used = at + length
    return at
  }

  /**
   * Hands over what has been encoded so far, for whomever. Whoever writes to a connection past the
   * slab, or ends it, does this first.
   */
  flush(): void {
    const used = this.#used
    if (used === 0) return
    const { buffer } = this
    if (buffer !== this.#slab) {
      this.#used = 0
      this.buffer = this.#slab
      const isOwned = buffer !== this.#largeSlab
      const isFree = this.#target!.deliver(buffer.subarray(0, used), isOwned)
      if (!isOwned && !isFree) this.#largeSlab = undefined
      return
    }
    if (used > this.#begin) this.#wait(this.#target!)
    this.#used = 0
    this.#begin = 0
    let isFree = true
    let begin = 0
    const count = this.#count
    for (let i = 0; i < count; i++) {
      const end = this.#ends[i]!
      if (!this.#waiting[i]!.deliver(buffer.subarray(begin, end), false)) isFree = false
      this.#waiting[i] = undefined
      begin = end
    }
    this.#count = 0
    if (isFree) return
    this.#slab = Buffer.allocUnsafeSlow(slabBytes)
    this.buffer = this.#slab
  }

  #awaitEnd(): void {
    if (!this.#isEndAwaited) setImmediate(this.#endTurn)
    this.#isEndAwaited = true
  }

  readonly #endTurn = (): void => {
    this.#isEndAwaited = false
    this.flush()
  }

  #wait(target: OutputTarget): void {
    this.#waiting[this.#count] = target
    this.#ends[this.#count] = this.#used
    this.#count++
    this.#begin = this.#used
  }

  #reserveAnew(length: number): number {
    this.flush()
    if (length > slabBytes) this.buffer = this.#roomFor(length)
    this.#used = length
    return 0
  }

  #roomFor(length: number): Buffer {
    if (length > largeSlabBytes || !this.#target!.takesAtOnce) return Buffer.allocUnsafeSlow(length)
    return (this.#largeSlab ??= Buffer.allocUnsafeSlow(largeSlabBytes))
  }
}
