import type { Bucket } from '../../vbucket/bucket.ts'
import type { SharedReference } from './shared-reference.ts'

/** Why a snapshot is not held any more. */
export const ReleaseCause = {
  /** The client is known to have all of it, or presented a seqno beyond it. */
  received: 'received',
  closed: 'closed',
  quit: 'quit',
  /** Its client has gone on in another one. */
  superseded: 'superseded',
  rolledBack: 'rolled-back',
  failed: 'failed',
  bucketDeleted: 'bucket-deleted',
  flushed: 'flushed',
  state: 'state',
  history: 'history',
  shutdown: 'shutdown',
  deadline: 'deadline',
  parkedMax: 'parked-max',
  parkedPerClientMax: 'parked-per-client-max',
  readerSlotsMax: 'reader-slots-max',
  pinnedBytesMax: 'pinned-bytes-max',
} as const
export type ReleaseCause = (typeof ReleaseCause)[keyof typeof ReleaseCause]

/** The causes for which a parked snapshot goes although its client may still come back. */
export const expiryCauses = [
  ReleaseCause.deadline,
  ReleaseCause.parkedMax,
  ReleaseCause.parkedPerClientMax,
  ReleaseCause.readerSlotsMax,
  ReleaseCause.pinnedBytesMax,
] as const
export type ExpiryCause = (typeof expiryCauses)[number]

/** What tells whether a client that comes back can go on in a snapshot. */
export interface SnapshotBounds {
  readonly uuid: bigint
  readonly snapshotStart: number
  readonly snapshotEnd: number
  /** Tombstones up to here were gone when it was pinned. */
  readonly purgeSeqno: number
}

/**
 * One disk snapshot on its way to one resumable client: from the pin until the client is known to
 * have received it whole. In use while its connection lives, parked while the client is away; and
 * received, for a while, where a client may still ask from within it.
 */
export interface HeldSnapshot extends SnapshotBounds {
  readonly client: string
  readonly place: string
  readonly bucket: Bucket
  readonly vbid: number
  /** Of its stream, see stream-scope.ts. */
  readonly slot: number
  /** Its stream may be served by an active vbucket only. */
  readonly activeOnly: boolean
  readonly reference: SharedReference
  /** The name under which the client's purge hold is set, to be let go when it is superseded. */
  readonly purgeHolder: string
  /** Bytes of it handed to the connection, resumed ones included: what a new start would cost. */
  sentBytes: number
  sentSeqno: number
  knownSeqno: number
  /** Epoch milliseconds; undefined unless its client is away and may lack some of it. */
  parkedAtMs: number | undefined
  /** Epoch milliseconds; undefined unless its client has all of it. */
  receivedAtMs: number | undefined
  /** Of one that is parked or received. */
  deadlineMs: number
  /** Called when someone else releases or takes over a snapshot that is in use. */
  onTaken: (() => void) | undefined
  /**
   * Of one whose connection is gone and has not come to parking it: to be called before a client is
   * judged by what is held for it.
   */
  parkNow: (() => void) | undefined
}

/** A stream of its client sends it, or has sent it and waits to hear that it arrived. */
export function isInUse({ parkedAtMs, receivedAtMs }: HeldSnapshot): boolean {
  return parkedAtMs === undefined && receivedAtMs === undefined
}
