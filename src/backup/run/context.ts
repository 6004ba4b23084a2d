import type { Clock } from '../../clock.ts'
import type { CompressionName } from '../archive/compression.ts'
import type { FillingBlocks } from '../archive/filling-blocks.ts'
import type { SegmentMakers } from '../archive/segment-makers.ts'
import type { SpareBlocks } from '../archive/spare-blocks.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { Journal, PackJournal } from './journal.ts'

/** What the steps of a backup have in common. */
export interface BackupContext {
  readonly store: ObjectStore
  readonly backupId: string
  /** Of everything that belongs to the backup. */
  readonly prefix: string
  readonly compression: CompressionName
  readonly repositoryKey: Uint8Array | undefined
  readonly blockBytes: number
  readonly spareBlocks: SpareBlocks
  readonly fillingBlocks: FillingBlocks
  readonly makers: SegmentMakers
  readonly segmentBytes: number
  /** Vbuckets with less than this lie in packs; at most a segment. */
  readonly packBelow: number
  /** Vbuckets that are worked on at a time. */
  readonly threads: number
  readonly clock: Clock
  /** Stops the backup, with everything kept that a resume needs. */
  readonly signal: AbortSignal
  readonly report: (event: BackupEvent) => void
  /** Durable when it resolves. */
  readonly keepJournal: (journal: Journal) => Promise<void>
  readonly keepPack: (journal: PackJournal) => Promise<void>
}

/** What is done with what an interrupted run has left of a vbucket. */
export type ResumeAction = 'keep' | 'go-on' | 'rebase' | 'restart'

/** What there is to tell while a backup is under way. */
export type BackupEvent =
  | { readonly type: 'backup'; readonly id: string; readonly kind: 'full' | 'incremental' }
  | { readonly type: 'step'; readonly step: string; readonly state: 'begun' | 'done' | 'skipped' }
  | {
      readonly type: 'vbucket'
      readonly vbid: number
      readonly action: ResumeAction
      readonly reason: string
    }
  | {
      readonly type: 'progress'
      /** Taken from the stream in this run. */
      readonly records: number
      readonly documentBytes: number
      /** Of how many seqnos that were to be gone through, how many are left. */
      readonly seqnosLeft: number
      readonly seqnosTotal: number
      readonly vbucketsLeft: number
    }
  | { readonly type: 'note'; readonly message: string }
