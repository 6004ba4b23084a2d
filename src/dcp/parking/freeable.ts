/**
 * Which pinned snapshots can be had back without ending a stream. A pin is freed only when all who
 * reference it let go, so giving up some of them would cost their clients and bring nothing.
 */
import type { Bucket } from '../../vbucket/bucket.ts'
import type { HeldSnapshot } from './held-snapshot.ts'
import type { ParkingLot } from './parking-lot.ts'
import type { SharedReference } from './shared-reference.ts'

export interface FreeablePin {
  snapshotId: number
  environment: number
  bucket: Bucket
  /** Everybody who references it. */
  held: HeldSnapshot[]
  /** Of the first of them; before all others for what is sent and merely unacknowledged. */
  deadlineMs: number
}

/** The one to give up first comes first. */
export function freeablePins(lot: ParkingLot, bucket: Bucket): FreeablePin[] {
  const byPin = new Map<number, Map<SharedReference, HeldSnapshot[]>>()
  for (const held of lot.of(bucket)) {
    if (!isGivable(held)) continue
    const { snapshotId } = held.reference.snapshot
    let references = byPin.get(snapshotId)
    if (references === undefined) byPin.set(snapshotId, (references = new Map()))
    const holders = references.get(held.reference)
    if (holders === undefined) references.set(held.reference, [held])
    else holders.push(held)
  }
  const freeable: FreeablePin[] = []
  for (const { snapshotId, environment, references } of bucket.snapshots.pins()) {
    const known = byPin.get(snapshotId)
    if (known === undefined || known.size !== references) continue
    if ([...known].some(([reference, holders]) => reference.holders !== holders.length)) continue
    const held = [...known.values()].flat()
    const deadlineMs = Math.min(...held.map(deadlineOf))
    freeable.push({ snapshotId, environment, bucket, held, deadlineMs })
  }
  return freeable.sort((one, other) => one.deadlineMs - other.deadlineMs)
}

/** Parked, or sent whole and only not acknowledged yet. */
function isGivable(held: HeldSnapshot): boolean {
  return held.parkedAtMs !== undefined || held.sentSeqno >= held.snapshotEnd
}

function deadlineOf({ parkedAtMs, deadlineMs }: HeldSnapshot): number {
  return parkedAtMs === undefined ? 0 : deadlineMs
}
