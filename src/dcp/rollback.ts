/**
 * Whether a client may go on from where it says it is, or has to roll back first, and to where.
 * A pure function of what the client presents and of the vbucket's history.
 *
 * A client presents the uuid of the history it followed, the seqno it has reached (`start`) and the
 * bounds of the snapshot which that seqno lies in. Two questions follow.
 *
 * 1. Is its history ours? The failover log says up to which seqno a history is shared: the seqno
 *    where the next one branched off, or the high seqno for the newest. Within a snapshot only its
 *    end is a consistent state, so the whole snapshot has to lie in the shared part. A client at the
 *    very start or end of its snapshot is not within it.
 * 2. Are all the deletions still there that it has not received? Purged tombstones are gone for
 *    good, so a client that may lack one has to begin at 0.
 *
 * For ordinary clients the second question is answered by the published rule: the snapshot must not
 * begin below the purge seqno. For clients with `backfill_resume` the start seqno is what must not
 * lie below it, which is enough: snapshots are sent in seqno order, so a client at `start` has every
 * key whose newest version was at or below `start` when its snapshot was taken. What has changed
 * since has a greater seqno, and for a key deleted since, that seqno belongs to a tombstone above
 * `start`, hence above the purge seqno, hence still here to be sent.
 */
import type { FailoverEntry } from '../vbucket/failover-log.ts'

export interface Position {
  /** The seqno up to which the client has everything. */
  start: number
  uuid: bigint
  snapshotStart: number
  snapshotEnd: number
}

export interface RollbackRequest extends Position {
  /** The client wants its uuid checked even at seqno 0. */
  strictUuid: boolean
  /**
   * Purged tombstones up to this seqno do not matter to the client: because a marker told it of
   * their purge, or (Infinity) because it does not mind missing deletions.
   */
  toleratedPurgeSeqno: number
  /** The client negotiated `backfill_resume`. */
  resumable: boolean
}

export interface History {
  /** Newest first. */
  failoverLog: readonly FailoverEntry[]
  highSeqno: number
  purgeSeqno: number
}

/** `rollbackTo` undefined: the client may go on. */
export interface RollbackDecision {
  rollbackTo: number | undefined
  reason: string
}

const goOn: RollbackDecision = { rollbackTo: undefined, reason: '' }

export function decideRollback(request: RollbackRequest, history: History): RollbackDecision {
  if (request.start === 0 && (request.uuid === 0n || !request.strictUuid)) return goOn
  const position = normalise(request)
  if (lacksPurged(request, position, history.purgeSeqno)) {
    return { rollbackTo: 0, reason: `tombstones up to seqno ${history.purgeSeqno} are purged` }
  }
  const shared = sharedSeqno(request.uuid, history)
  if (shared === undefined) {
    return { rollbackTo: 0, reason: 'the vbucket uuid is not in the failover log' }
  }
  if (position.snapshotEnd <= shared) return goOn
  return {
    rollbackTo: Math.min(position.snapshotStart, shared),
    reason: `histories are shared up to seqno ${shared} only`,
  }
}

/**
 * A client at the end of its snapshot has all of it, one at its start has nothing of it: for both
 * the snapshot shrinks to the point where they are.
 */
export function normalise(position: Position): Position {
  const { start, snapshotStart, snapshotEnd } = position
  if (start !== snapshotStart && start !== snapshotEnd) return position
  return { ...position, snapshotStart: start, snapshotEnd: start }
}

/** The last seqno that the history `uuid` and ours have in common; undefined: none is known. */
export function sharedSeqno(
  uuid: bigint,
  history: Omit<History, 'purgeSeqno'>,
): number | undefined {
  const { failoverLog } = history
  const index = failoverLog.findIndex(entry => entry.vbuuid === uuid)
  if (index < 0) return undefined
  return index === 0 ? history.highSeqno : failoverLog[index - 1]!.seqno
}

function lacksPurged(request: RollbackRequest, position: Position, purgeSeqno: number): boolean {
  if (request.start === 0 || request.toleratedPurgeSeqno >= purgeSeqno) return false
  return (request.resumable ? request.start : position.snapshotStart) < purgeSeqno
}
