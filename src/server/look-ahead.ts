/**
 * What several requests that arrived together will look for, fetched from memory for all of them
 * at once. A look-up in a large store waits for main memory at each step: its place in the index,
 * then the record. One after the other the waits are a good part of what a pipelined request costs;
 * reads that do not depend on each other the processor has under way at the same time.
 *
 * Nothing follows from what is read here. It is a guess: whatever does not look like a request with
 * a key ends it, and the requests themselves are checked and run afterwards as if it had not been.
 */
import { readUint16, readUint32 } from '../../protocol/bytes.ts'
import { headerLength } from '../../protocol/header.ts'
import { Magic } from '../../protocol/magic.ts'
import { defaultCollection } from '../storage/record-key.ts'
import type { ChangeLog } from '../vbucket/change-log.ts'
import { KeyBatch } from '../vbucket/key-batch.ts'

/** The one batch there is: it is used up before anything else runs. */
const batch = new KeyBatch()

/**
 * `bytes` has `length` of them, from the beginning of a frame on; `hasCollections`: the keys in them
 * begin with their collection, as stored ones do.
 */
export function lookAhead(
  bytes: Uint8Array,
  length: number,
  changes: ChangeLog,
  hasCollections: boolean,
): void {
  batch.count = 0
  for (let at = 0; at + headerLength < length && !batch.isFull;) {
    if (bytes[at] !== Magic.request) break
    const end = at + headerLength + readUint32(bytes, at + 8)
    // A request alone, as most clients send them, gains nothing.
    if (at === 0 && end >= length) return
    const keyLength = readUint16(bytes, at + 2)
    const keyStart = at + headerLength + bytes[at + 4]!
    if (keyLength > 0 && keyStart + keyLength <= length) {
      const vbid = readUint16(bytes, at + 6)
      if (hasCollections) batch.addWhole(vbid, bytes, keyStart, keyLength)
      else batch.add(defaultCollection, vbid, bytes, keyStart, keyLength)
    }
    at = end
  }
  changes.fetch(batch)
}
