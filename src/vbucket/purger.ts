/**
 * Decides which tombstones go: those older than the purge age, vbucket by vbucket, as far as the
 * purge holds allow. The flusher removes them; nobody else moves a purge seqno.
 */
import { StatusError } from '../errors.ts'
import { Status } from '../../protocol/status.ts'
import type { Flusher } from '../storage/flusher.ts'
import type { PurgeHolds } from '../storage/holds.ts'
import type { Vbucket } from './vbucket.ts'
import type { VbucketTable } from './vbucket-table.ts'

const batchMax = 2000

export interface CompactRequest {
  /** Purge only tombstones made before this time, seconds since the epoch; 0: the purge age. */
  purgeBeforeSeconds: number
  /** Purge only up to this seqno; 0: no limit. */
  purgeBeforeSeqno: number
  /** Purge every tombstone whatever its age. */
  dropDeletes: boolean
}

export interface PurgerOptions {
  flusher: Flusher
  holds: PurgeHolds
  vbuckets: VbucketTable
  ageSeconds: number
  nowSeconds: () => number
}

export class Purger {
  readonly #options: PurgerOptions
  #isStopped = false
  /** Tombstones removed since the start. */
  purged = 0
  /** Completed passes over all vbuckets. */
  passes = 0

  constructor(options: PurgerOptions) {
    this.#options = options
  }

  /** One pass over vbuckets that have tombstones. */
  async pass(): Promise<void> {
    const beforeSeconds = this.#ageLimit()
    for (const vbucket of this.#options.vbuckets) {
      if (this.#isStopped) return
      if (vbucket.tombstoneCount > 0) await this.#purge(vbucket, beforeSeconds, Infinity)
    }
    this.passes++
  }

  /** What is under way ends with the batch that is being written. */
  stop(): void {
    this.#isStopped = true
  }

  /** COMPACT_DB: resolves when it is done. */
  async compact(vbucket: Vbucket, request: CompactRequest): Promise<void> {
    const { purgeBeforeSeconds, purgeBeforeSeqno, dropDeletes } = request
    const { failure } = this.#options.flusher
    if (failure) throw new StatusError(Status.temporaryFailure, failure.message)
    const beforeSeconds = dropDeletes ? Infinity : purgeBeforeSeconds || this.#ageLimit()
    await this.#purge(vbucket, beforeSeconds, purgeBeforeSeqno || Infinity)
  }

  async #purge(vbucket: Vbucket, beforeSeconds: number, seqnoMax: number): Promise<void> {
    const { flusher, holds, vbuckets } = this.#options
    // One that was deleted or emptied meanwhile is another vbucket now, with other tombstones.
    while (!this.#isStopped && vbuckets.get(vbucket.id) === vbucket) {
      const request = {
        vbid: vbucket.id,
        limitSeqno: Math.min(seqnoMax, holds.limit(vbucket.id), erasureLimit(vbucket)),
        beforeSeconds,
        countMax: batchMax,
      }
      const replaced = vbucket.beginPurge()
      const purging = flusher.purge(request, result => vbucket.endPurge(replaced, result))
      vbucket.markPurging(purging)
      const { removed, more } = await purging
      this.purged += removed
      if (!more) return
    }
  }

  #ageLimit(): number {
    return this.#options.nowSeconds() - this.#options.ageSeconds
  }
}

/** That a collection was dropped has to be told for as long as something of it is there. */
function erasureLimit(vbucket: Vbucket): number {
  return Math.min(...vbucket.collections.doomed.values()) - 1
}
