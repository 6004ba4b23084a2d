/**
 * Unsigned LEB128 as it prefixes keys with their collection id: seven bits a byte, least
 * significant first, the top bit set on all bytes but the last. At most five bytes, for 32 bits.
 */

const lengthMax = 5

/** What was read: the value and how many bytes it took. */
export interface Leb128 {
  readonly value: number
  readonly length: number
}

export function leb128Length(value: number): number {
  let length = 1
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) length++
  return length
}

/** Writes a value below 2^32; returns the number of bytes written. */
export function writeLeb128(target: Uint8Array, offset: number, value: number): number {
  let at = offset
  let rest = value >>> 0
  while (rest > 0x7f) {
    target[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  target[at++] = rest
  return at - offset
}

/**
 * Reads a value from [`start`, `end`). `undefined` if it does not end there, does not fit into 32
 * bits, or is padded: two encodings of one collection id would be two keys for one document.
 */
export function readLeb128(bytes: Uint8Array, start: number, end: number): Leb128 | undefined {
  const value = leb128At(bytes, start, end)
  return value < 0 ? undefined : { value, length: leb128Length(value) }
}

/** The same without an object, for hot paths: the value alone, -1 if there is none. */
export function leb128At(bytes: Uint8Array, start: number, end: number): number {
  // Nearly all ids are one byte.
  if (start < end && bytes[start]! < 0x80) return bytes[start]!
  let value = 0
  const last = Math.min(end, start + lengthMax)
  for (let at = start; at < last; at++) {
    const byte = bytes[at]!
    value += (byte & 0x7f) * 2 ** (7 * (at - start))
    if (byte & 0x80) continue
    const isPadded = byte === 0 && at > start
    return isPadded || value > 0xffffffff ? -1 : value
  }
  return -1
}
