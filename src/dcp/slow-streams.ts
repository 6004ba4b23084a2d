/**
 * The last resort when the disk fills with pages that snapshots keep from reuse and nothing is
 * parked that could go: backfills whose clients take nothing are ended, oldest first.
 */
import type { Bucket } from '../vbucket/bucket.ts'
import type { Producer } from './producer.ts'
import type { DcpSettings } from './settings.ts'

export function endSlowStreams(
  producers: Iterable<Producer>,
  settings: DcpSettings,
  nowMs: number,
): void {
  const all = [...producers]
  const buckets = new Set(all.map(producer => producer.bucket))
  if (pinnedBytes(buckets) <= settings.pinnedBytesMax) return
  // Whoever takes something within the grace is slow, but not standing still.
  const since = nowMs - settings.backfillGraceSeconds * 1000
  const still = all
    .flatMap(producer => [...producer.streams.values()].map(stream => ({ producer, stream })))
    .filter(({ stream }) => stream.phase === 'backfilling' && stream.activeAtMs < since)
    .toSorted((one, other) => one.stream.activeAtMs - other.stream.activeAtMs)
  for (const { producer, stream } of still) {
    producer.tooSlow(stream)
    if (pinnedBytes(buckets) <= settings.pinnedBytesMax) return
  }
}

function pinnedBytes(buckets: Iterable<Bucket>): number {
  let bytes = 0
  for (const { snapshots } of buckets) bytes += snapshots.pinnedBytes()
  return bytes
}
