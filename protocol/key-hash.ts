import { crc32 } from 'node:zlib'

/**
 * The vbucket a key belongs to, as every Couchbase client computes it: 15 bits of the key's CRC-32,
 * modulo the number of vbuckets. The key is without its collection prefix.
 */
export function vbucketOf(key: string | Uint8Array, vbucketCount: number): number {
  return ((crc32(key) >>> 16) & 0x7fff) % vbucketCount
}
