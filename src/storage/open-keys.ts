/** The main thread's end of a range scan: reads in the backfill thread, one at a time. */
import type { BackfillThread } from './backfill-thread.ts'
import type { KeyScanLimits, KeysRead } from './key-scan.ts'
import type { SnapshotReference } from './snapshot.ts'

export class OpenKeys {
  readonly #thread: BackfillThread
  readonly #reference: SnapshotReference
  readonly #scanId: number
  #isReading = false
  #isClosed = false

  constructor(thread: BackfillThread, reference: SnapshotReference, scanId: number) {
    this.#thread = thread
    this.#reference = reference
    this.#scanId = scanId
  }

  /** What is read of a scan that is closed meanwhile is thrown away by who closed it. */
  async read(limits: KeyScanLimits): Promise<KeysRead> {
    this.#isReading = true
    try {
      return await this.#thread.readKeys(this.#scanId, limits)
    } finally {
      this.#isReading = false
      if (this.#isClosed) this.#letGo()
    }
  }

  /** Idempotent. A read under way is answered. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    if (!this.#isReading) this.#letGo()
  }

  #letGo(): void {
    this.#thread.closeKeys(this.#scanId)
    this.#reference.release()
  }
}
