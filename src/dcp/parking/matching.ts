/**
 * Which held snapshot a stream request goes on in. Pure.
 *
 * A client matches a snapshot whose uuid it presents and
 *   within   whose very bounds it presents, with a start inside them: it goes on in the middle;
 *   before   at whose start it stands. Its marker was lost, so that the client presents the snapshot
 *            before, or start = snapshot start = snapshot end. In the middle of the one before it
 *            lacks what was superseded there, so this one has to reach as far;
 *   received at whose end it stands: nothing of it is missing.
 */
import { normalise, type Position } from '../rollback.ts'
import type { HeldSnapshot, SnapshotBounds } from './held-snapshot.ts'

export type MatchKind = 'within' | 'before' | 'received'

export interface Presented extends Position {
  /** Purged tombstones up to this seqno do not matter to the client. */
  toleratedPurgeSeqno: number
}

export interface Match {
  kind: MatchKind
  held: HeldSnapshot
}

export function matchKind(held: SnapshotBounds, presented: Presented): MatchKind | undefined {
  if (held.uuid !== presented.uuid) return undefined
  if (!hasTombstones(held, presented.toleratedPurgeSeqno)) return undefined
  const { start } = presented
  const { snapshotStart, snapshotEnd } = normalise(presented)
  const isAtPoint = snapshotStart === start && snapshotEnd === start
  if (isAtPoint && start === held.snapshotEnd) return 'received'
  if (start === held.snapshotStart && snapshotEnd <= held.snapshotEnd) return 'before'
  const isSame =
    presented.snapshotStart === held.snapshotStart && presented.snapshotEnd === held.snapshotEnd
  return isSame && start > held.snapshotStart && start < held.snapshotEnd ? 'within' : undefined
}

/** Whether a client that goes on in the snapshot receives every deletion that it has to. */
function hasTombstones(held: SnapshotBounds, toleratedPurgeSeqno: number): boolean {
  // Who began at 0 with it had nothing before that could have been deleted.
  if (held.snapshotStart === 0) return true
  return held.purgeSeqno <= Math.max(held.snapshotStart, toleratedPurgeSeqno)
}

/**
 * The best of several: one in which the client goes on before one that it has received, as the end
 * of one snapshot is the start of the next.
 */
export function findMatch(
  candidates: Iterable<HeldSnapshot>,
  presented: Presented,
): Match | undefined {
  let best: Match | undefined
  for (const held of candidates) {
    const kind = matchKind(held, presented)
    if (kind === undefined) continue
    if (kind === 'within') return { kind, held }
    if (best === undefined || best.kind === 'received') best = { kind, held }
  }
  return best
}
