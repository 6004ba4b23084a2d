/**
 * Removes tombstones, in seqno order and in bounded batches, and moves the vbucket's purge seqno
 * in the same transaction. Two things are never removed: what lies above the purge limit (a
 * client still needs it) and the newest change of the vbucket and of its default collection: they
 * are what snapshots end with.
 */
import type { Applier } from './apply.ts'
import type { Environment } from './environment.ts'
import type { PurgeRequest, PurgeResult } from './flusher-messages.ts'
import { findInBlock } from './block.ts'
import { RecordView } from './record.ts'
import { agesSince, blockOfTombstone } from './tombstone-entry.ts'

interface Tombstone {
  seqno: number
  block: number
}

export function purge(
  environment: Environment,
  applier: Applier,
  id: number,
  request: PurgeRequest,
): PurgeResult {
  const { vbid } = request
  const vbucket = applier.vbucket(vbid)
  const purgeSeqnoBefore = vbucket?.purgeSeqno ?? 0
  const result = { id, vbid, removed: 0, purgeSeqno: 0, purgeSeqnoBefore, more: false }
  if (vbucket === undefined) return result
  const last = Math.min(request.limitSeqno, vbucket.highSeqno - 1)
  const found = oldTombstones(environment, request, last, vbucket.defaultSeqno)
  result.more = found.length > request.countMax
  for (const tombstone of found.slice(0, request.countMax)) {
    removeTombstone(environment, applier, vbid, tombstone)
    const { seqno } = tombstone
    vbucket.tombstones--
    vbucket.purgeSeqno = Math.max(vbucket.purgeSeqno, seqno)
    result.removed++
  }
  applier.flush()
  if (result.removed > 0) applier.setVbucket(vbid, vbucket)
  result.purgeSeqno = vbucket.purgeSeqno
  return result
}

/** Up to one more than the batch holds, so that the caller knows whether there is more. */
function oldTombstones(
  environment: Environment,
  request: PurgeRequest,
  last: number,
  defaultSeqno: number | undefined,
): Tombstone[] {
  const found: Tombstone[] = []
  if (last < 1) return found
  const { vbid, beforeSeconds, countMax } = request
  const range = environment.tombstones.getRange({
    start: { vbid, seqno: 0 },
    end: { vbid, seqno: last + 1 },
  })
  for (const { key, value } of range) {
    // Tombstones age in the order of their seqnos, so a young one ends the search.
    if (agesSince(value) >= beforeSeconds) break
    if (key.seqno === defaultSeqno) continue
    found.push({ seqno: key.seqno, block: blockOfTombstone(value, key.seqno) })
    if (found.length > countMax) break
  }
  return found
}

const view = new RecordView()

function removeTombstone(
  environment: Environment,
  applier: Applier,
  vbid: number,
  { seqno, block }: Tombstone,
): void {
  environment.tombstones.removeSync({ vbid, seqno })
  const stored = environment.blocks.getBinaryFast({ vbid, seqno: block })
  const at = stored === undefined ? 0 : findInBlock(stored, stored.length, seqno)
  if (at > 0) applier.remove(view.at(stored!, at), block)
}
