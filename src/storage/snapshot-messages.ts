/** What the main thread and the backfill thread say to each other. All plain data. */
import type { KeyScanLimits, KeyScanRequest, KeyScanState } from './key-scan.ts'
import type { FrameForm } from './record-frame.ts'

export interface BackfillStart {
  /** Shared: counts that somebody was served who does not stream. */
  served: Int32Array<SharedArrayBuffer>
  directories: string[]
  mapSizeBytes: number
  readerSlotsMax: number
}

/** What a pinned snapshot shows of one vbucket. */
export interface PinnedVbucket {
  highSeqno: number
  purgeSeqno: number
  /** Of the newest change in the default collection; 0 when there is none. */
  defaultSeqno: number
}

/** What is to be read of one vbucket. */
export interface ScanRange {
  snapshotId: number
  vbid: number
  afterSeqno: number
  toSeqno: number
  /** The block that the last read has come to; undefined before the first. */
  block: number | undefined
  form: FrameForm
}

/** What a slab holds of one range, behind what it holds of those before. */
export interface ScannedPart {
  length: number
  frames: number
  /** Everything up to here has been looked at. */
  lastSeqno: number
  /** Of the last frame; `afterSeqno` when there was none. */
  frameSeqno: number
  /** The last one looked at. */
  block: number | undefined
  done: boolean
}

export type ToBackfill =
  /** Pin the newest commit of an environment as `snapshotId`. */
  | { kind: 'pin'; request: number; snapshotId: number; environment: number }
  | { kind: 'release'; snapshotId: number }
  | {
      kind: 'read'
      request: number
      ranges: ScanRange[]
      /** Stop at about so many bytes: the frame that passes the limit is the last. */
      bytesMax: number
      /** What to read into: the thread's until it has answered. */
      slab: SharedArrayBuffer
    }
  /** Begin to read the keys of a vbucket in order. `seqno`: it has to be the newest of its key. */
  | {
      kind: 'open-keys'
      request: number
      scanId: number
      snapshotId: number
      keys: KeyScanRequest
      seqno: number | undefined
    }
  | { kind: 'read-keys'; request: number; scanId: number; limits: KeyScanLimits }
  | { kind: 'close-keys'; scanId: number }
  /** Open the copy of an environment, in this folder, beside the original. */
  | { kind: 'open-copy'; request: number; environment: number; copy: string }
  /**
   * Close one of the two, and from here on pin in the other. Nothing is pinned in the original.
   */
  | { kind: 'close-copy'; request: number; environment: number; isAdopted: boolean }
  | { kind: 'close' }

export type FromBackfill =
  | { kind: 'ready' }
  /** What the snapshot shows of each vbucket: asked one by one, a client's streams would be slow. */
  | { kind: 'pinned'; request: number; vbuckets: [vbid: number, shown: PinnedVbucket][] }
  /**
   * One part for each of the first ranges, as many as the slab had room for. `larger`: the slab had
   * no room for a single frame, this is what it lies in.
   */
  | { kind: 'slab'; request: number; parts: ScannedPart[]; larger: ArrayBuffer | undefined }
  | { kind: 'copy-opened'; request: number }
  | { kind: 'copy-closed'; request: number }
  | { kind: 'keys-opened'; request: number; hasSeqno: boolean }
  | { kind: 'keys'; request: number; bytes: Uint8Array; items: number; state: KeyScanState }
  | { kind: 'failed'; request: number; code: string; message: string; hint: string }
  | { kind: 'closed' }
