/** What the main thread and the backfill thread say to each other. All plain data. */
import type { FrameForm } from './record-frame.ts'

export interface BackfillStart {
  directories: string[]
  mapSizeBytes: number
  readerSlotsMax: number
}

/** What a pinned snapshot shows of one vbucket. */
export interface PinnedVbucket {
  highSeqno: number
  purgeSeqno: number
}

export type ToBackfill =
  /** Pin the newest commit of an environment as `snapshotId`. */
  | { kind: 'pin'; request: number; snapshotId: number; environment: number }
  | { kind: 'inspect'; request: number; snapshotId: number; vbid: number }
  | { kind: 'release'; snapshotId: number }
  | {
      kind: 'read'
      request: number
      snapshotId: number
      vbid: number
      afterSeqno: number
      toSeqno: number
      form: FrameForm
      /** Stop at about so many bytes: the frame that passes the limit is the last. */
      bytesMax: number
      /** Slabs that have been sent: memory for others. */
      freed: ArrayBuffer[]
    }
  | { kind: 'close' }

export type FromBackfill =
  | { kind: 'ready' }
  | { kind: 'pinned'; request: number }
  | { kind: 'inspected'; request: number; vbucket: PinnedVbucket | undefined }
  | {
      kind: 'slab'
      request: number
      slab: ArrayBuffer
      length: number
      frames: number
      lastSeqno: number
      done: boolean
    }
  | { kind: 'failed'; request: number; code: string; message: string; hint: string }
  | { kind: 'closed' }
