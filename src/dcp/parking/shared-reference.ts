import type { SnapshotReference } from '../../storage/snapshot.ts'

/**
 * A pinned snapshot with several holders: the stream that reads it, its client's claim to it, and
 * after a takeover two streams at once. The last to let go releases it.
 */
export class SharedReference {
  readonly snapshot: SnapshotReference
  #holders = 1

  constructor(snapshot: SnapshotReference) {
    this.snapshot = snapshot
  }

  get holders(): number {
    return this.#holders
  }

  share(): this {
    this.#holders++
    return this
  }

  release(): void {
    if (--this.#holders === 0) this.snapshot.release()
  }
}
