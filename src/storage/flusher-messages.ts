/** What the main thread and the flusher thread say to each other. All plain data. */
import type { VbucketRecord } from './vbucket-record.ts'

/** One thing to do, in order; a batch of them becomes one transaction per environment. */
export type FlushStep =
  /** Apply the log up to this position. */
  | { kind: 'apply'; upTo: number }
  /** Store what changed of a vbucket; made if it was not there. */
  | { kind: 'vbucket'; vbid: number; change: VbucketChange }
  /** Remove a vbucket and all it holds. */
  | { kind: 'drop'; vbid: number }
  /** Remove what every vbucket holds, at once, and store the vbuckets as new ones. */
  | { kind: 'clear'; vbuckets: [vbid: number, record: VbucketRecord][] }
  | { kind: 'hold'; vbid: number; holder: string; hold: DurableHold | undefined }
  | { kind: 'purge'; id: number; request: PurgeRequest }
  | { kind: 'erase'; id: number; request: EraseRequest }

export type VbucketChange = Pick<VbucketRecord, 'state' | 'failoverLog' | 'maxCas'>

/** A purge seqno must not pass `seqno` before `deadlineMs`; see holds.ts. */
export interface DurableHold {
  seqno: number
  /** Milliseconds since the epoch; null while the client is connected. */
  deadlineMs: number | null
  /** Grace that the client was promised, which begins anew when a daemon starts. */
  graceMs: number
  /**
   * Milliseconds since the epoch: from then on it holds nothing back, and only tells how long its
   * client has stood still. null or absent while the client has everything.
   */
  lapsesAtMs?: number | null
}

export interface PurgeRequest {
  vbid: number
  /** No tombstone above this seqno is touched: the least purge hold. */
  limitSeqno: number
  /** Only tombstones made before this time, in seconds since the epoch. */
  beforeSeconds: number
  /** At most so many in this transaction. */
  countMax: number
}

export interface PurgeResult {
  id: number
  vbid: number
  removed: number
  purgeSeqno: number
  purgeSeqnoBefore: number
  /** The batch was full: there may be more. */
  more: boolean
}

/** Removes what dropped collections of a vbucket held. */
export interface EraseRequest {
  vbid: number
  /** The seqno of the event that dropped each collection. */
  collections: ReadonlyMap<number, number>
  /** Everything up to here has been looked at. */
  afterSeqno: number
  /** About so many records are looked at in this transaction. */
  countMax: number
}

export interface EraseResult {
  id: number
  vbid: number
  removed: number
  /** How many of them were tombstones. */
  tombstones: number
  lastSeqno: number
  done: boolean
}

export type ToFlusher =
  | { kind: 'segment'; number: number; memory: SharedArrayBuffer }
  | { kind: 'release'; number: number }
  /** The same steps again after a failure go on where they failed. */
  | { kind: 'batch'; steps: FlushStep[]; nowSeconds: number; heldBytes: number[] }
  /** Put the copy of an environment, in this folder, in its place, and go on in it. */
  | { kind: 'adopt'; environment: number; copy: string }
  /** Close what it was before. The last who does so frees its pages on the disk, which takes a while. */
  | { kind: 'close-original' }
  | { kind: 'close' }

export type FromFlusher =
  | { kind: 'ready' }
  | CommittedBatch
  /** The transaction that failed has left nothing; the batch is to be sent again. */
  | { kind: 'failed'; code: string; message: string; hint: string }
  | Adoption
  /** Pages of the maps cannot be given back. */
  | { kind: 'unbounded'; error: string }
  | { kind: 'closed' }

export interface CommittedBatch {
  kind: 'committed'
  /** How far each vbucket that this batch touched is on disk now. */
  persisted: { vbid: number; highSeqno: number }[]
  purged: PurgeResult[]
  erased: EraseResult[]
  records: number
  commitMs: number
  environments: EnvironmentFigures[]
}

/** What became of a copy; the environment is as it was when there is a failure. */
export interface Adoption {
  kind: 'adopted'
  failure: string | undefined
  environments: EnvironmentFigures[]
}

/** For the metrics and for telling what pinned snapshots keep from reuse; in bytes. */
export interface EnvironmentFigures {
  allocatedBytes: number
  liveBytes: number
  /** Written by the flusher since it started, or since the file was written anew. */
  writtenBytes: number
}

export interface FlusherStart {
  directories: string[]
  mapSizeBytes: number
  readerSlotsMax: number
  /** See mapped-pages.ts. */
  mappedBytesMax: number
}
