/**
 * How far back a resumable client holds the purger of a vbucket. Pure.
 *
 * While a disk snapshot is on its way or parked, its end holds (see the parking lot): what follows
 * it stays complete. On top of that:
 *
 * - What the client is known to have holds durably, so that after a crash of the daemon, when no
 *   snapshot is pinned any more, every tombstone above it is still there. A client may hold the
 *   purger back that way for `purgeHoldMaxMs` without making progress, however often it connects
 *   meanwhile; 0 switches it off.
 * - Where it is switched off, and without a snapshot that shows it, what is in flight from memory holds, for
 *   about the time it takes to be known as received or the client to be known as gone.
 */
export interface HoldLimits {
  graceMs: number
  purgeHoldMaxMs: number
}

export interface HoldState {
  /**
   * What the client is known to have; in the middle of a snapshot from memory, whose rest a crash
   * may lose, the start of that: there the client would have to go back to.
   */
  safeSeqno: number
  /** A disk snapshot is held in which the client can go on from wherever it may be. */
  isInSnapshot: boolean
  /** When the known seqno moved last; Infinity for a client that has everything. */
  progressAtMs: number
  /** When something was sent or became known last; Infinity when nothing is under way. */
  activeAtMs: number
}

export interface KnownHold {
  seqno: number
  durable: boolean
}

export function knownHold(
  state: HoldState,
  limits: HoldLimits,
  nowMs: number,
): KnownHold | undefined {
  const { safeSeqno, isInSnapshot, progressAtMs, activeAtMs } = state
  const { graceMs, purgeHoldMaxMs } = limits
  if (purgeHoldMaxMs > 0) {
    const isOver = nowMs - progressAtMs >= purgeHoldMaxMs
    return isOver ? undefined : { seqno: safeSeqno, durable: true }
  }
  // Without flow control it takes a grace until anything is known: hence twice.
  if (isInSnapshot || nowMs - activeAtMs > 2 * graceMs) return undefined
  return { seqno: safeSeqno, durable: false }
}
