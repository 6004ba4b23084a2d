/** What others see of a pinned snapshot: one vbucket of it, and the scan that reads it. */
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

/** Whole frames, ready for the socket. */
export interface ScanSlab {
  bytes: Buffer
  frames: number
  /** Of the last frame; `afterSeqno` when there was none. */
  lastSeqno: number
  /** Nothing is left up to `toSeqno`. */
  done: boolean
  /**
   * Its bytes are used no more: another slab may be read into them. Not calling it costs memory
   * and, as new memory makes the garbage collector run, time; never calling it too early costs
   * more.
   */
  free(): void
}

export interface Scan {
  /** About so many bytes of frames; may pass the limit by one frame. One call at a time. */
  next(bytesMax: number): Promise<ScanSlab>
  /** Ends the scan; a read under way is answered but its slab thrown away. */
  close(): void
}

export interface SnapshotReference {
  readonly snapshotId: number
  readonly vbid: number
  /** The vbucket's high seqno in the snapshot: the end of a disk snapshot made of it. */
  readonly persistedSeqno: number
  readonly purgeSeqno: number
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
