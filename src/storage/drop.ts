/**
 * Removes everything a vbucket holds, so many entries a transaction, so that a large vbucket
 * neither fills memory nor holds up the flusher's other work for long in one commit.
 */
import type { Environment } from './environment.ts'
import type { DocumentKey, ExpiryKey, SeqnoKey } from './keys.ts'
import { RecordView } from './record.ts'

const view = new RecordView()

/** Removes up to `countMax` records of the vbucket; true when nothing is left of it. */
export function dropSome(environment: Environment, vbid: number, countMax: number): boolean {
  const range = environment.records.getRange({
    start: { vbid, seqno: 0 },
    end: { vbid: vbid + 1, seqno: 0 },
    limit: countMax,
  })
  const found: { place: SeqnoKey; due: ExpiryKey | undefined; key: DocumentKey }[] = []
  for (const { key: place, value } of range) {
    const record = view.at(value, 0)
    const due = record.expiry === 0 ? undefined : { expiry: record.expiry, ...place }
    const key = Buffer.from(record.key())
    found.push({ place, due, key: { vbid, bytes: key, start: 0, length: key.length } })
  }
  for (const { place, due, key } of found) {
    environment.records.removeSync(place)
    environment.tombstones.removeSync(place)
    if (due) environment.expiries.removeSync(due)
    environment.documents.removeSync(key)
  }
  return found.length < countMax
}
