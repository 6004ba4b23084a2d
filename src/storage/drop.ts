/**
 * Removes everything a vbucket holds, so many entries a transaction, so that a large vbucket
 * neither fills memory nor holds up the flusher's other work for long in one commit.
 */
import { BlockScan } from './block-scan.ts'
import type { Environment } from './environment.ts'
import type { DocumentKey, ExpiryKey, SeqnoKey } from './keys.ts'
import { RecordView } from './record.ts'

const view = new RecordView()

/** Removes at least `countMin` records of the vbucket; true when nothing is left of it. */
export function dropSome(environment: Environment, vbid: number, countMin: number): boolean {
  const found: { place: SeqnoKey; due: ExpiryKey | undefined; key: DocumentKey }[] = []
  const blocks: SeqnoKey[] = []
  for (const shown of new BlockScan(environment).blocks({ vbid, from: 0, to: Infinity })) {
    if (found.length >= countMin) break
    blocks.push({ vbid, seqno: shown.block })
    for (const { at, seqno } of shown.live()) {
      const { expiry, keyStart, valueStart } = view.at(shown.bytes, at)
      const place = { vbid, seqno }
      const due = expiry === 0 ? undefined : { expiry, ...place }
      const key = Buffer.from(shown.bytes.subarray(keyStart, valueStart))
      found.push({ place, due, key: { vbid, bytes: key, start: 0, length: key.length } })
    }
  }
  for (const { place, due, key } of found) {
    environment.tombstones.removeSync(place)
    if (due) environment.expiries.removeSync(due)
    environment.documents.removeSync(key)
  }
  for (const block of blocks) {
    environment.blocks.removeSync(block)
    environment.superseded.removeSync(block)
  }
  return found.length < countMin
}
