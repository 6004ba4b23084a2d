/** Figures of a bucket, for metrics and statistics. */
import type { OperatorError } from '../errors.ts'
import type { CommittedBatch, EnvironmentFigures } from '../storage/flusher-messages.ts'
import type { Quota } from './quota.ts'
import type { Vbucket } from './vbucket.ts'

export interface BucketStatistics extends CommitFigures {
  items: number
  tombstones: number
  /** Of the keys and values of documents. */
  documentBytes: number
  /** 0: there is no quota. */
  quotaBytes: number
  /** Writes that were refused for it. */
  quotaRefusals: number
  unflushedBytes: number
  changeLogBytes: number
  documentCacheBytes: number
  expired: number
  purged: number
  purgePasses: number
  failure: OperatorError | undefined
}

export interface CommitFigures {
  readonly commits: number
  readonly records: number
  readonly commitMsTotal: number
  readonly lastCommitMs: number
  readonly environments: readonly EnvironmentFigures[]
  /** Files that were written anew while they were served. */
  readonly compactions: number
}

/** Adds up what the flusher reports. */
export class CommitCounter {
  #figures: CommitFigures

  constructor(environments: readonly EnvironmentFigures[]) {
    const none = { commits: 0, records: 0, commitMsTotal: 0, lastCommitMs: 0, compactions: 0 }
    this.#figures = { ...none, environments }
  }

  figures(): CommitFigures {
    return this.#figures
  }

  add({ records, commitMs, environments }: CommittedBatch): void {
    const before = this.#figures
    this.#figures = {
      ...before,
      commits: before.commits + 1,
      records: before.records + records,
      commitMsTotal: before.commitMsTotal + commitMs,
      lastCommitMs: commitMs,
      environments,
    }
  }

  /** A file has been written anew. */
  compacted(environments: readonly EnvironmentFigures[]): void {
    const { compactions } = this.#figures
    this.#figures = { ...this.#figures, compactions: compactions + 1, environments }
  }
}

type DocumentCounts = Pick<
  BucketStatistics,
  'items' | 'tombstones' | 'documentBytes' | 'quotaBytes' | 'quotaRefusals'
>

/** Documents and tombstones of all vbuckets, and what the quota makes of them. */
export function countDocuments(vbuckets: Iterable<Vbucket>, quota: Quota): DocumentCounts {
  let items = 0
  let tombstones = 0
  for (const vbucket of vbuckets) {
    items += vbucket.itemCount
    tombstones += vbucket.tombstoneCount
  }
  const { usedBytes, limitBytes, refused } = quota
  const ofQuota = { documentBytes: usedBytes, quotaBytes: limitBytes, quotaRefusals: refused }
  return { items, tombstones, ...ofQuota }
}
