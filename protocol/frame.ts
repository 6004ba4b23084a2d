import { readSeqno, readUint16, readUint32, uint64From } from './bytes.ts'
import { headerLength } from './header.ts'
import { isAltMagic, isMagic, isRequestMagic } from './magic.ts'

/** Why bytes are not a frame. `truncated` only comes from `decodeFrame`: a reader waits for more. */
export type FrameErrorKind = 'bad-magic' | 'too-large' | 'lengths' | 'truncated'

/** The header fields of what could not be read as a frame, for the log and a last answer. */
export interface FrameError {
  readonly kind: FrameErrorKind
  readonly magic: number
  readonly opcode: number
  readonly opaque: number
  readonly bodyLength: number
}

const nothing = Buffer.alloc(0)

/**
 * One request or response. The reader has a single `Frame` and fills it in again for every message:
 * fields and views are valid until the visitor returns; what shall live longer is copied, by
 * `copy()` or piece by piece. All offsets are positions in `bytes`, so that hot code can work on
 * (bytes, start, length) without making views.
 */
export class Frame {
  /** What the frame lies in: the chunk that was read, or the reader's own buffer. */
  bytes: Buffer = nothing
  magic = 0
  opcode = 0
  datatype = 0
  /** The vbucket of a request; the same two bytes are the status of a response. */
  vbid = 0
  opaque = 0
  casHigh = 0
  casLow = 0
  framingLength = 0
  extrasLength = 0
  keyLength = 0
  valueLength = 0
  /** As announced in the header, also when the body was not kept. */
  bodyLength = 0
  /** Of the header's first byte. */
  start = 0
  framingStart = 0
  extrasStart = 0
  keyStart = 0
  valueStart = 0
  /** One past the last byte. */
  end = 0
  /** The body is beyond the limit and was dropped: only header fields are here. */
  oversized = false
  /** The lengths in the header contradict each other: only header fields are here. */
  malformed = false

  get status(): number {
    return this.vbid
  }

  get cas(): bigint {
    return uint64From(this.casHigh, this.casLow)
  }

  get isRequest(): boolean {
    return isRequestMagic(this.magic)
  }

  /** A view, not a copy, like the next three. */
  key(): Buffer {
    return this.bytes.subarray(this.keyStart, this.keyStart + this.keyLength)
  }

  value(): Buffer {
    return this.bytes.subarray(this.valueStart, this.valueStart + this.valueLength)
  }

  extras(): Buffer {
    return this.bytes.subarray(this.extrasStart, this.extrasStart + this.extrasLength)
  }

  framing(): Buffer {
    return this.bytes.subarray(this.framingStart, this.framingStart + this.framingLength)
  }

  /** Reads in the extras, `at` counted from their start; the caller has checked their length. */
  extrasUint32(at: number): number {
    return readUint32(this.bytes, this.extrasStart + at)
  }

  extrasUint16(at: number): number {
    return readUint16(this.bytes, this.extrasStart + at)
  }

  extrasSeqno(at: number): number {
    return readSeqno(this.bytes, this.extrasStart + at)
  }

  /** A frame of its own in memory of its own. */
  copy(): Frame {
    const { start } = this
    const copy = new Frame()
    copy.bytes = Buffer.from(this.bytes.subarray(start, this.end))
    copy.readHeader(0)
    if (this.oversized || this.malformed) copy.dropBody()
    copy.oversized = this.oversized
    copy.malformed = this.malformed
    // Not as the header has it: the key may have been given a prefix.
    copy.casLow = this.casLow
    copy.extrasStart = this.extrasStart - start
    copy.keyStart = this.keyStart - start
    copy.keyLength = this.keyLength
    copy.valueStart = this.valueStart - start
    copy.valueLength = this.valueLength
    return copy
  }

  /**
   * Puts a byte in front of the key, in place: the extras make room for it. What lies before them,
   * the end of the framing extras or of the header, has been read by then and is given up.
   */
  prefixKey(byte: number): void {
    const { bytes, keyStart } = this
    for (let at = this.extrasStart; at < keyStart; at++) bytes[at - 1] = bytes[at]!
    bytes[keyStart - 1] = byte
    this.extrasStart--
    this.keyStart--
    this.keyLength++
  }

  /**
   * Fills in all fields from the header at `start` of `bytes`, which has to be there whole; the
   * body need not. Sets `malformed` if the lengths cannot be.
   */
  readHeader(start: number): void {
    const bytes = this.bytes
    const magic = bytes[start]!
    this.start = start
    this.magic = magic
    this.opcode = bytes[start + 1]!
    const alternative = isAltMagic(magic)
    this.framingLength = alternative ? bytes[start + 2]! : 0
    this.keyLength = alternative ? bytes[start + 3]! : readUint16(bytes, start + 2)
    this.extrasLength = bytes[start + 4]!
    this.datatype = bytes[start + 5]!
    this.vbid = readUint16(bytes, start + 6)
    this.bodyLength = readUint32(bytes, start + 8)
    this.opaque = readUint32(bytes, start + 12)
    this.casHigh = readUint32(bytes, start + 16)
    this.casLow = readUint32(bytes, start + 20)
    this.framingStart = start + headerLength
    this.extrasStart = this.framingStart + this.framingLength
    this.keyStart = this.extrasStart + this.extrasLength
    this.valueStart = this.keyStart + this.keyLength
    this.end = this.framingStart + this.bodyLength
    this.valueLength = this.end - this.valueStart
    this.oversized = false
    this.malformed = this.valueLength < 0
  }

  /** Leaves the header fields only: what is reported of a body that is not kept. */
  dropBody(): void {
    this.framingLength = 0
    this.extrasLength = 0
    this.keyLength = 0
    this.valueLength = 0
    this.end = this.framingStart
    this.extrasStart = this.framingStart
    this.keyStart = this.framingStart
    this.valueStart = this.framingStart
  }

  error(kind: FrameErrorKind): FrameError {
    const { magic, opcode, opaque, bodyLength } = this
    return { kind, magic, opcode, opaque, bodyLength }
  }
}

/** Reads the one frame that begins at `start` of `bytes`; its views are views of `bytes`. */
export function decodeFrame(bytes: Buffer, start = 0): Frame | FrameError {
  const frame = new Frame()
  frame.bytes = bytes
  if (start < bytes.length && !isMagic(bytes[start]!)) {
    frame.magic = bytes[start]!
    return frame.error('bad-magic')
  }
  if (bytes.length - start < headerLength) return frame.error('truncated')
  frame.readHeader(start)
  if (frame.malformed) return frame.error('lengths')
  if (frame.end > bytes.length) return frame.error('truncated')
  return frame
}
