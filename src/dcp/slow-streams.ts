/**
 * When snapshots keep more of the disk from reuse than was granted, and the one to blame is being
 * read: its backfills are ended. To blame is the oldest snapshot of an environment, which keeps
 * every page that was freed since; ending others would free nothing.
 */
import type { Bucket } from '../vbucket/bucket.ts'
import type { Producer } from './producer.ts'
import type { DcpSettings } from './settings.ts'

/** Beyond so many times the limit whoever is slow has to go, even one that takes a little. */
const patience = 2

export function endSlowStreams(
  producers: ReadonlySet<Producer>,
  settings: DcpSettings,
  nowMs: number,
): void {
  const { pinnedBytesMax, backfillGraceSeconds } = settings
  const buckets = new Set([...producers].map(producer => producer.bucket))
  const bytes = pinnedBytes(buckets)
  if (bytes <= pinnedBytesMax) return
  const since = bytes > patience * pinnedBytesMax ? Infinity : nowMs - backfillGraceSeconds * 1000
  for (const bucket of buckets) {
    const held = bucket.snapshots.heldBytes()
    for (const [environment, { snapshotId }] of oldestPins(bucket)) {
      if (held[environment] === 0) continue
      for (const producer of producers) {
        if (producer.bucket !== bucket) continue
        for (const stream of producer.streams.values()) {
          const isSlow = stream.snapshotId === snapshotId && stream.activeAtMs < since
          if (isSlow) producer.tooSlow(stream)
        }
      }
      if (pinnedBytes(buckets) <= pinnedBytesMax) return
    }
  }
}

/** By environment. */
export function oldestPins(bucket: Bucket): Map<number, { snapshotId: number }> {
  const oldest = new Map<number, { snapshotId: number }>()
  for (const pin of bucket.snapshots.pins()) {
    const before = oldest.get(pin.environment)
    // Numbers are given in the order of pinning.
    if (before === undefined || pin.snapshotId < before.snapshotId) oldest.set(pin.environment, pin)
  }
  return oldest
}

export function pinnedBytes(buckets: Iterable<Bucket>): number {
  let bytes = 0
  for (const { snapshots } of buckets) bytes += snapshots.pinnedBytes()
  return bytes
}
