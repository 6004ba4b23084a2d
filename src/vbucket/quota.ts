import { Status } from '../../protocol/status.ts'

/** How much the documents of a bucket take, and whether one more may come in. */
export class Quota {
  /** Of keys and values of all documents that live. */
  usedBytes = 0
  readonly #limitBytes: () => number

  /** `limitBytes` is 0 where there is no limit. */
  constructor(limitBytes: () => number) {
    this.#limitBytes = limitBytes
  }

  /**
   * Success, or why a document of this size cannot take the place of one of `replacedBytes`. What
   * makes a document smaller is taken always: that is how to get out of a full bucket.
   */
  admit(bytes: number, replacedBytes: number): Status {
    const limitBytes = this.#limitBytes()
    if (limitBytes === 0 || bytes <= replacedBytes) return Status.success
    if (bytes > limitBytes) return Status.tooLarge
    const isFull = this.usedBytes - replacedBytes + bytes > limitBytes
    return isFull ? Status.temporaryFailure : Status.success
  }
}
