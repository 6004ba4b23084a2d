/** What a byte does to a CRC-32C (Castagnoli, the polynomial reflected). */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte
  for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0x82f63b78 : 0)
  return sum
})

/** The checksum that attributes name for a document's body; not the one that `node:zlib` has. */
export function crc32c(bytes: Uint8Array, start: number, end: number): number {
  let sum = 0xffffffff
  for (let at = start; at < end; at++) sum = table[(sum ^ bytes[at]!) & 0xff]! ^ (sum >>> 8)
  return (sum ^ 0xffffffff) >>> 0
}
