import { writeUint32 } from '../../../protocol/bytes.ts'
import { crc32c } from '../../checksum.ts'

/**
 * Tells of a block of records which keys it certainly does not have: a Bloom filter with a byte for
 * each record and four bits set for each key. Of blocks without a key it lets one in forty pass.
 *
 * ```
 * h = CRC-32C of the collection id (4 bytes) and the key
 * four times:  h = mix(h + 0x9e3779b9);  bit h mod (8 x bytes of the filter) is set
 * ```
 *
 * Bit n is bit n mod 8 (0: the lowest) of byte n div 8. All is modulo 2^32, and mix is the finalizer of
 * MurmurHash3 with 32 bits:
 *
 * ```
 * h ^= h >> 16;  h *= 0x85ebca6b;  h ^= h >> 13;  h *= 0xc2b2ae35;  h ^= h >> 16
 * ```
 */
const bitsPerKey = 4
const step = 0x9e3779b9

/** Of a key that stands behind its collection id, as in a record: from `start` to `end`. */
export function keyHashIn(bytes: Uint8Array, start: number, end: number): number {
  return crc32c(bytes, start, end) | 0
}

export function keyHashOf(collectionId: number, key: Uint8Array): number {
  const bytes = Buffer.alloc(4 + key.length)
  writeUint32(bytes, 0, collectionId)
  bytes.set(key, 4)
  return keyHashIn(bytes, 0, bytes.length)
}

/** The filter of a block with these keys, one hash for each of its records. */
export function buildKeyFilter(hashes: readonly number[]): Buffer {
  const filter = Buffer.alloc(hashes.length)
  const bits = filter.length * 8
  for (const hash of hashes) {
    let state = hash
    for (let count = 0; count < bitsPerKey; count++) {
      state = mix(state + step)
      const bit = (state >>> 0) % bits
      filter[bit >>> 3]! |= 1 << (bit & 7)
    }
  }
  return filter
}

/** Whether the block may have the key; one that has no filter may have any. */
export function mayHaveKey(filter: Uint8Array, hash: number): boolean {
  const bits = filter.length * 8
  if (bits === 0) return true
  let state = hash
  for (let count = 0; count < bitsPerKey; count++) {
    state = mix(state + step)
    const bit = (state >>> 0) % bits
    if ((filter[bit >>> 3]! & (1 << (bit & 7))) === 0) return false
  }
  return true
}

function mix(hash: number): number {
  let h = hash ^ (hash >>> 16)
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}
