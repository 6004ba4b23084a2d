/**
 * Decides which tombstones go: those older than the purge age, vbucket by vbucket, as far as the
 * purge holds allow. The flusher removes them; nobody else moves a purge seqno.
 */
import { StatusError } from '../errors.ts'
import { Status } from '../../protocol/status.ts'
import type { Flusher } from '../storage/flusher.ts'
import type { PurgeHolds } from '../storage/holds.ts'
import type { Vbucket } from './vbucket.ts'

const batchMax = 2000

export interface CompactRequest {
  /** Purge only tombstones made before this time, seconds since the epoch; 0: the purge age. */
  purgeBeforeSeconds: number
  /** Purge only up to this seqno; 0: no limit. */
  purgeBeforeSeqno: number
  /** Purge every tombstone whatever its age. */
  dropDeletes: boolean
}

export class Purger {
  readonly #flusher: Flusher
  readonly #holds: PurgeHolds
  readonly #ageSeconds: number
  readonly #nowSeconds: () => number
  /** Tombstones removed since the start. */
  purged = 0
  /** Completed passes over all vbuckets. */
  passes = 0

  constructor(options: {
    flusher: Flusher
    holds: PurgeHolds
    ageSeconds: number
    nowSeconds: () => number
  }) {
    this.#flusher = options.flusher
    this.#holds = options.holds
    this.#ageSeconds = options.ageSeconds
    this.#nowSeconds = options.nowSeconds
  }

  /** One pass over vbuckets that have tombstones. */
  async pass(vbuckets: Iterable<Vbucket>, isStopped: () => boolean): Promise<void> {
    const beforeSeconds = this.#nowSeconds() - this.#ageSeconds
    for (const vbucket of vbuckets) {
      if (isStopped()) return
      if (vbucket.tombstoneCount > 0) await this.#purge(vbucket, beforeSeconds, Infinity)
    }
    this.passes++
  }

  /** COMPACT_DB: resolves when it is done. */
  async compact(vbucket: Vbucket, request: CompactRequest): Promise<void> {
    const { purgeBeforeSeconds, purgeBeforeSeqno, dropDeletes } = request
    if (this.#flusher.failure) {
      throw new StatusError(Status.temporaryFailure, this.#flusher.failure.message)
    }
    const age = purgeBeforeSeconds || this.#nowSeconds() - this.#ageSeconds
    const beforeSeconds = dropDeletes ? Infinity : age
    await this.#purge(vbucket, beforeSeconds, purgeBeforeSeqno || Infinity)
  }

  async #purge(vbucket: Vbucket, beforeSeconds: number, seqnoMax: number): Promise<void> {
    for (;;) {
      const request = {
        vbid: vbucket.id,
        limitSeqno: Math.min(seqnoMax, this.#holds.limit(vbucket.id)),
        beforeSeconds,
        countMax: batchMax,
      }
      const purging = this.#flusher.purge(request)
      vbucket.markPurging(purging)
      const { removed, purgeSeqno, more } = await purging
      vbucket.tombstoneCount -= removed
      vbucket.purgeSeqno = Math.max(vbucket.purgeSeqno, purgeSeqno)
      this.purged += removed
      if (!more) return
    }
  }
}
