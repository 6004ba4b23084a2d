import { writeUint16, writeUint32 } from './bytes.ts'

/**
 * The 24 bytes every frame begins with. All numbers are big-endian.
 *
 * ```
 *        0               1               2               3
 *       +---------------+---------------+---------------+---------------+
 *     0 | magic         | opcode        | key length                    |
 *       +---------------+---------------+---------------+---------------+
 *     4 | extras length | datatype      | vbid, in a response: status   |
 *       +---------------+---------------+---------------+---------------+
 *     8 | body length (everything after these 24 bytes)                 |
 *       +---------------+---------------+---------------+---------------+
 *    12 | opaque (the answer repeats it)                                |
 *       +---------------+---------------+---------------+---------------+
 *    16 | cas                                                           |
 *       |                                                               |
 *       +---------------+---------------+---------------+---------------+
 *    24 | body: extras, key, value                                      |
 * ```
 *
 * With the magics 0x08 and 0x18 the body begins with framing extras, and bytes 2 and 3 are
 * `framing extras length` and `key length`, one byte each.
 */
export const headerLength = 24

/** Where the fields of a header are, counted from its first byte. */
export const HeaderOffset = {
  magic: 0,
  opcode: 1,
  keyLength: 2,
  altFramingLength: 2,
  altKeyLength: 3,
  extrasLength: 4,
  datatype: 5,
  vbid: 6,
  status: 6,
  bodyLength: 8,
  opaque: 12,
  cas: 16,
} as const

/**
 * Writes a header with a plain magic. Positional, as it runs once for every frame sent;
 * `bodyLength` counts extras, key and value.
 */
export function writeHeader(
  target: Uint8Array,
  offset: number,
  magic: number,
  opcode: number,
  keyLength: number,
  extrasLength: number,
  datatype: number,
  vbidOrStatus: number,
  bodyLength: number,
  opaque: number,
  casHigh: number,
  casLow: number,
): void {
  target[offset] = magic
  target[offset + 1] = opcode
  writeUint16(target, offset + 2, keyLength)
  target[offset + 4] = extrasLength
  target[offset + 5] = datatype
  writeUint16(target, offset + 6, vbidOrStatus)
  writeUint32(target, offset + 8, bodyLength)
  writeUint32(target, offset + 12, opaque)
  writeUint32(target, offset + 16, casHigh)
  writeUint32(target, offset + 20, casLow)
}

/**
 * Writes a header with an alternative magic; `bodyLength` counts framing extras, extras, key and
 * value, and the key has at most 255 bytes.
 */
export function writeAltHeader(
  target: Uint8Array,
  offset: number,
  magic: number,
  opcode: number,
  framingLength: number,
  keyLength: number,
  extrasLength: number,
  datatype: number,
  vbidOrStatus: number,
  bodyLength: number,
  opaque: number,
  casHigh: number,
  casLow: number,
): void {
  const bytes2And3 = (framingLength << 8) | keyLength
  writeHeader(
    target,
    offset,
    magic,
    opcode,
    bytes2And3,
    extrasLength,
    datatype,
    vbidOrStatus,
    bodyLength,
    opaque,
    casHigh,
    casLow,
  )
}
