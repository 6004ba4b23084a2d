import { readSeqno, readUint32, writeSeqno, writeUint32 } from '../../../protocol/bytes.ts'
import { damaged } from '../errors.ts'
import { blockHeaderLength } from './block.ts'
import { crc32c } from '../../checksum.ts'

/**
 * An object is a row of segments. Each is blocks of records, a block with their index, and a trailer;
 * the first has the object header in front. So an object can be read to the end of any segment, and
 * more can be added behind one that was its last.
 *
 * Of the index, each block of records has an entry:
 *
 * ```
 *        0               4
 *       +---------------+---------------+
 *     0 | offset of the block in the object
 *       +---------------+---------------+
 *     8 | stored length | raw length    |
 *       +---------------+---------------+
 *    16 | record count  | filter length |
 *       +---------------+---------------+
 *    24 | first seqno                   |
 *       +---------------+---------------+
 *    32 | last seqno                    |
 *       +---------------+---------------+
 *    40 | filter of the block's keys, see `key-filter.ts`
 * ```
 *
 * Behind the last entry is the CRC-32C of all of them, 4 bytes.
 */
const entryHeadLength = 40
const indexChecksumLength = 4

export interface IndexEntry {
  readonly offset: number
  readonly storedLength: number
  readonly rawLength: number
  readonly recordCount: number
  readonly firstSeqno: number
  readonly lastSeqno: number
  /** Tells which keys are not in the block. */
  readonly keyFilter: Uint8Array
}

/** Where the block after this one begins. */
export function endOfBlock(entry: IndexEntry): number {
  return entry.offset + blockHeaderLength + entry.storedLength
}

export function encodeIndex(entries: readonly IndexEntry[]): Buffer {
  const filterBytes = entries.reduce((sum, { keyFilter }) => sum + keyFilter.length, 0)
  const length = entries.length * entryHeadLength + filterBytes
  const bytes = Buffer.alloc(length + indexChecksumLength)
  let at = 0
  for (const entry of entries) {
    writeSeqno(bytes, at, entry.offset)
    writeUint32(bytes, at + 8, entry.storedLength)
    writeUint32(bytes, at + 12, entry.rawLength)
    writeUint32(bytes, at + 16, entry.recordCount)
    writeUint32(bytes, at + 20, entry.keyFilter.length)
    writeSeqno(bytes, at + 24, entry.firstSeqno)
    writeSeqno(bytes, at + 32, entry.lastSeqno)
    bytes.set(entry.keyFilter, at + entryHeadLength)
    at += entryHeadLength + entry.keyFilter.length
  }
  writeUint32(bytes, length, crc32c(bytes, 0, length))
  return bytes
}

/** Filters are views of `bytes`. */
export function decodeIndex(bytes: Buffer): IndexEntry[] {
  const length = bytes.length - indexChecksumLength
  if (length < 0) throw damaged('an index is cut off')
  if (crc32c(bytes, 0, length) !== readUint32(bytes, length))
    throw damaged('the checksum of an index is wrong')
  const entries: IndexEntry[] = []
  for (let at = 0; at < length;) {
    const filterAt = at + entryHeadLength
    if (filterAt > length) throw damaged('an index is cut off')
    const end = filterAt + readUint32(bytes, at + 20)
    if (end > length) throw damaged('an index is cut off')
    entries.push({
      offset: readSeqno(bytes, at),
      storedLength: readUint32(bytes, at + 8),
      rawLength: readUint32(bytes, at + 12),
      recordCount: readUint32(bytes, at + 16),
      firstSeqno: readSeqno(bytes, at + 24),
      lastSeqno: readSeqno(bytes, at + 32),
      keyFilter: bytes.subarray(filterAt, end),
    })
    at = end
  }
  return entries
}

/**
 * What a segment, and so an object, ends with. No block begins with these four bytes.
 *
 * ```
 *        0               4
 *       +---------------+---------------+
 *     0 | ff ff ff ff   | "HFSE"        |
 *       +---------------+---------------+
 *     8 | offset of the segment         |   0: the first
 *       +---------------+---------------+
 *    16 | offset of its index block     |
 *       +---------------+---------------+
 *    24 | records of the object so far  |
 *       +---------------+---------------+
 *    32 | last seqno                    |
 *       +---------------+---------------+
 *    40 | CRC-32C       |                   of bytes 0 to 39
 *       +---------------+
 * ```
 */
export const trailerLength = 44
export const trailerMark = 0xffffffff
const trailerMagic = 0x48465345
const checkedLength = 40

export interface Trailer {
  readonly segmentOffset: number
  readonly indexOffset: number
  readonly recordCount: number
  readonly lastSeqno: number
}

export function encodeTrailer(trailer: Trailer): Buffer {
  const bytes = Buffer.alloc(trailerLength)
  writeUint32(bytes, 0, trailerMark)
  writeUint32(bytes, 4, trailerMagic)
  writeSeqno(bytes, 8, trailer.segmentOffset)
  writeSeqno(bytes, 16, trailer.indexOffset)
  writeSeqno(bytes, 24, trailer.recordCount)
  writeSeqno(bytes, 32, trailer.lastSeqno)
  writeUint32(bytes, checkedLength, crc32c(bytes, 0, checkedLength))
  return bytes
}

/** `bytes` has at least the trailer's length. */
export function decodeTrailer(bytes: Buffer): Trailer {
  if (readUint32(bytes, 0) !== trailerMark || readUint32(bytes, 4) !== trailerMagic)
    throw damaged('an object does not end as it should')
  if (crc32c(bytes, 0, checkedLength) !== readUint32(bytes, checkedLength))
    throw damaged('the checksum of a trailer is wrong')
  return {
    segmentOffset: readSeqno(bytes, 8),
    indexOffset: readSeqno(bytes, 16),
    recordCount: readSeqno(bytes, 24),
    lastSeqno: readSeqno(bytes, 32),
  }
}
