/**
 * Removes everything a vbucket holds, so many entries a transaction, so that a large vbucket
 * neither fills memory nor holds up the flusher's other work for long in one commit.
 */
import { BlockScan } from './block-scan.ts'
import { collectionsOf } from './collection-record.ts'
import type { Environment } from './environment.ts'
import type { ExpiryKey, SeqnoKey } from './keys.ts'
import { RecordView } from './record.ts'

const view = new RecordView()
/** About as many documents as a block of the index has. */
const entriesPerBlock = 64

/** Removes at least `countMin` records of the vbucket; true when nothing is left of it. */
export function dropSome(environment: Environment, vbid: number, countMin: number): boolean {
  const isIndexGone = dropIndex(environment, vbid, Math.ceil(countMin / entriesPerBlock))
  const found: { place: SeqnoKey; due: ExpiryKey | undefined }[] = []
  const blocks: SeqnoKey[] = []
  for (const shown of new BlockScan(environment).blocks({ vbid, from: 0, to: Infinity })) {
    if (found.length >= countMin) break
    blocks.push({ vbid, seqno: shown.block })
    for (const { at, seqno } of shown.live()) {
      const { expiry } = view.at(shown.bytes, at)
      const place = { vbid, seqno }
      found.push({ place, due: expiry === 0 ? undefined : { expiry, ...place } })
    }
  }
  for (const { place, due } of found) {
    environment.tombstones.removeSync(place)
    if (due) environment.expiries.removeSync(due)
  }
  for (const block of blocks) environment.blocks.removeSync(block)
  const isDone = isIndexGone && found.length < countMin
  if (isDone) {
    dropSuperseded(environment, vbid)
    dropCollections(environment, vbid)
  }
  return isDone
}

/** True when no block of the index is left. */
function dropIndex({ index }: Environment, vbid: number, countMax: number): boolean {
  const range = { start: { vbid, name: 0 }, end: { vbid: vbid + 1, name: 0 }, limit: countMax }
  const keys = [...index.getKeys(range)]
  for (const key of keys) index.removeSync(key)
  return keys.length < countMax
}

function dropSuperseded({ superseded }: Environment, vbid: number): void {
  const range = { start: { vbid, seqno: 0 }, end: { vbid: vbid + 1, seqno: 0 } }
  const spans = [...superseded.getKeys(range)]
  for (const span of spans) superseded.removeSync(span)
}

function dropCollections({ collections }: Environment, vbid: number): void {
  const keys = [...collections.getKeys(collectionsOf(vbid))]
  for (const key of keys) collections.removeSync(key)
}
