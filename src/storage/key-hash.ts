/**
 * The hash of a key within its vbucket: FNV-1a over both with a final mix. It orders the index by
 * key on disk, and places keys in that of memory: to change it is to change the format of the store.
 */
export function hashKey(vbid: number, bytes: Uint8Array, start: number, length: number): number {
  return hashFrom(offsetBasis ^ vbid, bytes, start, length)
}

/** The same of a key that is the byte `first` and then these. Positional, as it runs for each request. */
export function hashKeyBehind(
  first: number,
  vbid: number,
  bytes: Uint8Array,
  start: number,
  length: number,
): number {
  return hashFrom(Math.imul(offsetBasis ^ vbid ^ first, prime), bytes, start, length)
}

const offsetBasis = 0x811c9dc5
const prime = 0x01000193

function hashFrom(basis: number, bytes: Uint8Array, start: number, length: number): number {
  let hash = basis
  for (let i = start, end = start + length; i < end; i++) {
    hash = Math.imul(hash ^ bytes[i]!, prime)
  }
  hash ^= hash >>> 15
  hash = Math.imul(hash, 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) >>> 0
}
