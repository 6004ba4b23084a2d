/**
 * Snappy blocks, as values are compressed with: how many bytes one stands for, what they are, and
 * whether compressing pays.
 *
 *   | length of what it stands for, LEB128 up to 2^32 - 1 | literals and copies … |
 */
import { compressSync, uncompressSync } from 'snappy'

/** Smaller values save next to nothing. */
const compressedBytesMin = 128
/**
 * A copy of 3 bytes stands for 64 at most. What claims to be more is no block: it is not worth
 * the memory it asks for.
 */
const expansionMax = 64 / 3
const prefixBytesMax = 5
/** Memory of Node's own, which is cheaper than telling it of somebody else's. */
const options = { copyOutputData: true }

/** How many bytes a block stands for; -1 when it cannot be one. */
export function expandedLength(bytes: Uint8Array, start: number, length: number): number {
  let expanded = 0
  for (let index = 0; index < Math.min(length, prefixBytesMax); index++) {
    const byte = bytes[start + index]!
    expanded += (byte & 0x7f) * 2 ** (7 * index)
    if (byte >= 0x80) continue
    return expanded <= length * expansionMax && expanded <= 0xffffffff ? expanded : -1
  }
  return -1
}

/** What a block stands for; undefined when it is damaged. The caller has looked at its length. */
export function expand(bytes: Uint8Array, start: number, length: number): Buffer | undefined {
  if (expandedLength(bytes, start, length) < 0) return undefined
  try {
    return uncompressSync(bytes.subarray(start, start + length), options) as Buffer
  } catch {
    return undefined
  }
}

/** The block for a value; undefined when it is not `ratioMin` times smaller. */
export function compress(
  bytes: Uint8Array,
  start: number,
  length: number,
  ratioMin: number,
): Buffer | undefined {
  if (length < compressedBytesMin) return undefined
  const block = compressSync(bytes.subarray(start, start + length), options)
  return block.length * ratioMin <= length ? block : undefined
}

/** Whether a value of so many bytes may be worth compressing. */
export function mayPay(length: number): boolean {
  return length >= compressedBytesMin
}
