/** What others see of a pinned snapshot: one vbucket of it, and the scan that reads it. */
import type { Scan } from './pin.ts'
import type { FrameForm } from './record-frame.ts'

export interface PinRequest {
  /** Who pins: the client's identity. Its streams share snapshots. */
  holder: string
  /** For people: what the snapshot is for. */
  reason: string
  /** The vbucket's high seqno in the snapshot must be at least this. */
  atLeastSeqno: number
}

export interface ScanRequest {
  afterSeqno: number
  toSeqno: number
  form: FrameForm
}

/** What was read of one scan: whole frames, ready for the socket. */
export interface ScanSlab {
  bytes: Buffer
  frames: number
  /** Everything up to here has been looked at. */
  lastSeqno: number
  /** Of the last frame; `afterSeqno` when there was none. */
  frameSeqno: number
  /** Nothing is left up to `toSeqno`. */
  done: boolean
  /**
   * Its bytes are used no more: another slab may be read into them. To be called once. Not calling
   * it costs memory and, as new memory makes the garbage collector run, time; calling it too early
   * costs more.
   */
  free(): void
}

export interface SnapshotReference {
  readonly snapshotId: number
  readonly vbid: number
  /** The vbucket's high seqno in the snapshot: the end of a disk snapshot made of it. */
  readonly persistedSeqno: number
  readonly purgeSeqno: number
  /** Of the newest change in the default collection; 0 when there is none. */
  readonly defaultSeqno: number
  readonly pinnedAtMs: number
  scan(request: ScanRequest): Scan
  /** Idempotent. */
  release(): void
}

export interface PinSummary {
  snapshotId: number
  environment: number
  references: number
  ageMs: number
  holders: string[]
}
