/** Figures of a bucket, for metrics and statistics. */
import type { OperatorError } from '../errors.ts'
import type { CommittedBatch, EnvironmentFigures } from '../storage/flusher-messages.ts'
import type { Vbucket } from './vbucket.ts'

export interface BucketStatistics extends CommitFigures {
  items: number
  tombstones: number
  unflushedBytes: number
  changeLogBytes: number
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
}

/** Adds up what the flusher reports. */
export class CommitCounter implements CommitFigures {
  commits = 0
  records = 0
  commitMsTotal = 0
  lastCommitMs = 0
  environments: readonly EnvironmentFigures[]

  constructor(environments: readonly EnvironmentFigures[]) {
    this.environments = environments
  }

  add(batch: CommittedBatch): void {
    this.commits++
    this.records += batch.records
    this.commitMsTotal += batch.commitMs
    this.lastCommitMs = batch.commitMs
    this.environments = batch.environments
  }
}

/** Documents and tombstones of all vbuckets. */
export function countDocuments(vbuckets: Iterable<Vbucket>): { items: number; tombstones: number } {
  let items = 0
  let tombstones = 0
  for (const vbucket of vbuckets) {
    items += vbucket.itemCount
    tombstones += vbucket.tombstoneCount
  }
  return { items, tombstones }
}
