import { damaged } from '../errors.ts'
import type { BlockHeader } from './block.ts'
import { keyHashIn } from './key-filter.ts'
import {
  collectionIdOffset,
  decodeRecords,
  recordHeaderLength,
  sealRecord,
  type ArchiveRecord,
} from './record.ts'

const collectionIdLength = recordHeaderLength - collectionIdOffset

/** The records of a block, as many as its header says, from and to the seqnos that it says. */
export function recordsOfBlock(header: BlockHeader, raw: Buffer): ArchiveRecord[] {
  const records = [...decodeRecords(raw)]
  if (records.length !== header.recordCount || records.length === 0)
    throw damaged('a block has not the records it should have')
  if (records[0]!.seqno !== header.firstSeqno || records.at(-1)!.seqno !== header.lastSeqno)
    throw damaged('a block has not the seqnos it should have')
  return records
}

/** Writes the checksums of the records; answers with what `key-filter.ts` knows their keys by. */
export function sealRecords(raw: Buffer): number[] {
  const hashes: number[] = []
  for (let at = 0; at < raw.length;) {
    const { keyEnd, end } = sealRecord(raw, at)
    hashes.push(keyHashIn(raw, at + collectionIdOffset, keyEnd))
    at = end
  }
  return hashes
}

/** What `key-filter.ts` knows the key of each of the block's records by. */
export function keyHashesOfBlock(records: readonly ArchiveRecord[], raw: Buffer): number[] {
  return records.map(({ key }) => {
    const start = key.byteOffset - raw.byteOffset
    return keyHashIn(raw, start - collectionIdLength, start + key.length)
  })
}
