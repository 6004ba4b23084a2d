/** How much the documents of a bucket take, and whether one more may come in. */
import { Status } from '../../protocol/status.ts'

export class Quota {
  /** 0: there is no limit. */
  limitBytes: number
  /** Keys and values of all documents that live, as they are stored. */
  usedBytes = 0
  /** Writes that were refused for it. */
  refused = 0

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes
  }

  /**
   * Success, or why a document of `bytes` cannot take the place of one of `replacedBytes`:
   * `tooLarge` when the bucket would not have room for it if it were empty, `temporaryFailure`
   * otherwise. What makes a document no larger is taken always: it is a way out of a full bucket.
   */
  admit(bytes: number, replacedBytes: number): Status {
    const { limitBytes } = this
    if (limitBytes === 0 || bytes <= replacedBytes) return Status.success
    if (this.usedBytes - replacedBytes + bytes <= limitBytes) return Status.success
    this.refused++
    return bytes > limitBytes ? Status.tooLarge : Status.temporaryFailure
  }
}
