/**
 * The hash of a key within its vbucket: FNV-1a over both with a final mix. It orders the index by
 * key on disk, and places keys in that of memory: to change it is to change the format of the store.
 */
export function hashKey(vbid: number, bytes: Uint8Array, start: number, length: number): number {
  let hash = 0x811c9dc5 ^ vbid
  for (let i = start, end = start + length; i < end; i++) {
    hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
  }
  hash ^= hash >>> 15
  hash = Math.imul(hash, 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) >>> 0
}
