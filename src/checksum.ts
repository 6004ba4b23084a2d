/**
 * Checksums. What the library computes is many times as fast as `crc32` of `node:zlib`, whose zlib is
 * built without the instructions for it, but a call costs as much as summing some hundred bytes here.
 */
import { crc32 as nativeCrc32, crc32c as nativeCrc32c } from '@node-rs/crc32'

/** CRC-32 of `bytes` (ISO 3309); goes on from `sum`, that of what lies in front of them. */
export function crc32(bytes: Uint8Array, sum = 0): number {
  return nativeCrc32(bytes, sum)
}

/** CRC-32C of `bytes` from `start` to `end` (Castagnoli's polynomial, RFC 3720). */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length): number {
  if (end - start > summedHereMax) return nativeCrc32c(viewOf(bytes, start, end))
  return shortCrc32c(bytes, start, end)
}

/** What `subarray` makes, in two thirds of the time. */
function viewOf({ buffer, byteOffset }: Uint8Array, start: number, end: number): Uint8Array {
  return new Uint8Array(buffer, byteOffset + start, end - start)
}

/** Up to here no call is worth it. */
const summedHereMax = 192

/** The Castagnoli polynomial, bits reversed. */
const polynomial = 0x82f63b78

/** `tables[n][byte]`: what a byte does to the checksum n bytes further on. */
const tables: readonly Int32Array[] = buildTables()
const [table0, table1, table2, table3, table4, table5, table6, table7] = tables as [
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
  Int32Array,
]

function buildTables(): Int32Array[] {
  const built = Array.from({ length: 8 }, () => new Int32Array(256))
  for (let byte = 0; byte < 256; byte++) {
    let remainder = byte
    for (let bit = 0; bit < 8; bit++)
      remainder = (remainder & 1) === 0 ? remainder >>> 1 : (remainder >>> 1) ^ polynomial
    built[0]![byte] = remainder
  }
  for (let distance = 1; distance < 8; distance++) {
    for (let byte = 0; byte < 256; byte++) {
      const before = built[distance - 1]![byte]!
      built[distance]![byte] = (before >>> 8) ^ built[0]![before & 0xff]!
    }
  }
  return built
}

/** Eight bytes at a time. */
function shortCrc32c(bytes: Uint8Array, start: number, end: number): number {
  let crc = -1
  let at = start
  for (; at + 8 <= end; at += 8) {
    const word =
      crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24))
    crc =
      table7[word & 0xff]! ^
      table6[(word >>> 8) & 0xff]! ^
      table5[(word >>> 16) & 0xff]! ^
      table4[word >>> 24]! ^
      table3[bytes[at + 4]!]! ^
      table2[bytes[at + 5]!]! ^
      table1[bytes[at + 6]!]! ^
      table0[bytes[at + 7]!]!
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ table0[(crc ^ bytes[at]!) & 0xff]!
  return ~crc >>> 0
}
