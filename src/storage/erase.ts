/**
 * Removes what collections held that have been dropped, in bounded batches, in the order of
 * seqnos. It leaves no tombstones: the event that dropped a collection stands for all of them. So a
 * purge seqno does not move, and what comes after the event is untouched.
 */
import type { Applier } from './apply.ts'
import { BlockScan } from './block-scan.ts'
import {
  decodeCollectionRecord,
  encodeCollectionRecord,
  type CollectionKey,
} from './collection-record.ts'
import type { Environment } from './environment.ts'
import type { EraseRequest, EraseResult } from './flusher-messages.ts'
import { IndexReader } from './index-reader.ts'
import { collectionOf, defaultCollection } from './record-key.ts'
import { RecordView } from './record.ts'

/** A record without its value. */
interface Doomed {
  readonly head: Buffer
  /** Name of its block. */
  readonly block: number
}

const view = new RecordView()

export function erase(
  environment: Environment,
  applier: Applier,
  id: number,
  request: EraseRequest,
): EraseResult {
  const { vbid, collections, afterSeqno } = request
  const result = { id, vbid, removed: 0, tombstones: 0, lastSeqno: afterSeqno, done: true }
  const vbucket = applier.vbucket(vbid)
  if (vbucket === undefined) return result
  const { found, lastSeqno, done } = gather(environment, request)
  const index = new IndexReader(environment)
  result.lastSeqno = lastSeqno
  result.done = done
  for (const { head, block } of found) {
    const { seqno, keyStart, keyLength, isDeletion, expiry } = view.at(head, 0)
    // It may have gone in this transaction already.
    if (index.find(vbid, head, keyStart, keyLength)?.seqno !== seqno) continue
    applier.remove(view, block)
    if (isDeletion) {
      environment.tombstones.removeSync({ vbid, seqno })
      vbucket.tombstones--
      result.tombstones++
    }
    if (expiry !== 0) environment.expiries.removeSync({ expiry, vbid, seqno })
    result.removed++
  }
  applier.flush()
  if (done) for (const collection of collections.keys()) forget(environment, vbid, collection)
  if (result.removed > 0) applier.setVbucket(vbid, vbucket)
  return result
}

/** Without its entry the default collection would be there again. */
function forget({ collections }: Environment, vbid: number, id: number): void {
  const key: CollectionKey = { vbid, subject: 'collection', id }
  const stored = id === defaultCollection ? collections.getBinary(key) : undefined
  if (stored === undefined) collections.removeSync(key)
  else {
    const record = { ...decodeCollectionRecord(stored), isErased: true }
    collections.putSync(key, encodeCollectionRecord(record))
  }
}

/** Looks at up to `countMax` records, and a block more. */
function gather(
  environment: Environment,
  { vbid, collections, afterSeqno, countMax }: EraseRequest,
): { found: Doomed[]; lastSeqno: number; done: boolean } {
  const found: Doomed[] = []
  const to = Math.max(...collections.values()) - 1
  let lastSeqno = afterSeqno
  let seen = 0
  for (const shown of new BlockScan(environment).blocks({ vbid, from: afterSeqno + 1, to })) {
    if (seen >= countMax) return { found, lastSeqno, done: false }
    for (const { at, seqno } of shown.live()) {
      if (seqno <= afterSeqno) continue
      seen++
      lastSeqno = seqno
      const { bytes, keyStart, valueStart } = view.at(shown.bytes, at)
      const droppedSeqno = collections.get(collectionOf(bytes, keyStart))
      if (droppedSeqno === undefined || seqno >= droppedSeqno) continue
      found.push({ head: Buffer.from(bytes.subarray(at, valueStart)), block: shown.block })
    }
  }
  return { found, lastSeqno, done: true }
}
