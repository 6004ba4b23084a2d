/**
 * Big-endian numbers in byte arrays. Out-of-range offsets are the caller's mistake: every decoder
 * checks lengths before it reads.
 *
 * A sequence number is a `number`: no vbucket lives long enough to pass 2^53, and a double costs
 * nothing on the paths that move millions of them. The one greater value with a meaning is "no
 * end" (all ones), which reads as 2^64 and is written back as all ones.
 */

const highUnit = 2 ** 32

/** What eight bytes of 0xff read as: the end seqno of a stream that shall never end. */
export const seqnoInfinity = 2 ** 64

/** From here on `writeSeqno` writes all ones: such seqnos only ever mean "no end". */
const seqnoEndless = 2 ** 63

export function readUint16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0
  )
}

export function readSeqno(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at) * highUnit + readUint32(bytes, at + 4)
}

export function readUint64(bytes: Uint8Array, at: number): bigint {
  return (BigInt(readUint32(bytes, at)) << 32n) | BigInt(readUint32(bytes, at + 4))
}

export function writeUint16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8
  bytes[at + 1] = value
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

export function writeSeqno(bytes: Uint8Array, at: number, seqno: number): void {
  if (seqno >= seqnoEndless) {
    writeUint32(bytes, at, 0xffffffff)
    writeUint32(bytes, at + 4, 0xffffffff)
    return
  }
  writeUint32(bytes, at, Math.floor(seqno / highUnit))
  writeUint32(bytes, at + 4, seqno >>> 0)
}

export function writeUint64(bytes: Uint8Array, at: number, value: bigint): void {
  writeUint32(bytes, at, Number((value >> 32n) & 0xffffffffn))
  writeUint32(bytes, at + 4, Number(value & 0xffffffffn))
}

/** The upper half of a 64-bit value, for code that carries a CAS as two numbers. */
export function uint64High(value: bigint): number {
  return Number((value >> 32n) & 0xffffffffn)
}

/** The lower half of a 64-bit value. */
export function uint64Low(value: bigint): number {
  return Number(value & 0xffffffffn)
}

/** One 64-bit value from its halves. */
export function uint64From(high: number, low: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low)
}
