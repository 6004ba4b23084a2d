import type { Output } from '../commands/session.ts'

/** Enough for a read batch of small answers; what is larger gets a buffer of its own. */
export const slabBytes = 64 * 1024

/** Takes what was encoded. */
export interface OutputTarget {
  /**
   * `owned`: the bytes were allocated for this answer and may be kept. Otherwise they are the slab,
   * and the result says whether it may be written to again.
   */
  deliver(bytes: Buffer, owned: boolean): boolean
}

/**
 * The one place where answers are encoded. It is opened for a connection when a batch of its
 * requests is run and closed after it, so that a batch leaves as one write. The slab is used again
 * if the kernel took it whole, which it does unless the client has stopped reading.
 */
export class OutputSlab implements Output {
  buffer: Buffer = Buffer.allocUnsafeSlow(slabBytes)
  #slab = this.buffer
  #used = 0
  #target: OutputTarget | undefined

  /** Whom the bytes encoded now will reach; undefined between batches. */
  get target(): OutputTarget | undefined {
    return this.#target
  }

  open(target: OutputTarget): void {
    this.#target = target
  }

  close(): void {
    this.flush()
    this.#target = undefined
  }

  reserve(length: number): number {
    const at = this.#used
    if (at + length > this.buffer.length) return this.#reserveAnew(length)
    this.#used = at + length
    return at
  }

  /** Hands over what has been encoded so far. */
  flush(): void {
    const used = this.#used
    if (used === 0) return
    this.#used = 0
    const { buffer } = this
    if (buffer !== this.#slab) {
      this.buffer = this.#slab
      this.#target!.deliver(buffer, true)
      return
    }
    if (!this.#target!.deliver(buffer.subarray(0, used), false)) {
      this.#slab = Buffer.allocUnsafeSlow(slabBytes)
      this.buffer = this.#slab
    }
  }

  #reserveAnew(length: number): number {
    this.flush()
    if (length > slabBytes) this.buffer = Buffer.allocUnsafeSlow(length)
    this.#used = length
    return 0
  }
}
