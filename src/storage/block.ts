/**
 * A block: records of one vbucket, one behind the other in the order of their seqnos, stored as
 * one value, so that a backfill reads many at a time and a write makes few pages new.
 *
 *   | CRC-32 of all that follows, big-endian u32 | record … | record … |
 *
 * It is stored under the seqno that its first record had when it was begun, and keeps that name
 * when this record leaves it. A record that another block has superseded stays in its place, and
 * is noted in the table `superseded`, until enough of them have gathered to write the block anew.
 */
import { crc32 } from '../checksum.ts'
import { readSeqno, readUint32, writeUint32 } from '../../protocol/bytes.ts'
import { headerLength } from '../../protocol/header.ts'
import { Magic } from '../../protocol/magic.ts'

export const blockHeadLength = 4

/** What two pages of LMDB have room for. A record longer than that has a block of its own. */
export const blockBytesMax = 2 * 4096 - 32

/** Seqnos are cut into spans of so many; a block is within one of them. See superseded.ts. */
export const blockSpan = 4096

/** The first of the span that has this seqno. */
export function spanOf(seqno: number): number {
  return seqno - (seqno % blockSpan)
}

/** Whether records that together have this many bytes fit into a block. */
export function fitsIntoBlock(recordBytes: number): boolean {
  return blockHeadLength + recordBytes <= blockBytesMax
}

/** Writes the checksum of a block whose records are in place. */
export function sealBlock(bytes: Buffer, length: number): void {
  writeUint32(bytes, 0, crc32(bytes.subarray(blockHeadLength, length)))
}

/**
 * Writes the checksum of a block that was sealed when it ended at `before`. What it had is not
 * summed anew: a damage there stays one.
 */
export function sealLonger(bytes: Buffer, before: number, length: number): void {
  writeUint32(bytes, 0, crc32(bytes.subarray(before, length), readUint32(bytes, 0)))
}

/** False: something in it is damaged, though single records may be intact. */
export function isBlockIntact(bytes: Buffer, length: number): boolean {
  if (length < blockHeadLength) return false
  return readUint32(bytes, 0) === crc32(bytes.subarray(blockHeadLength, length))
}

/**
 * Length of the record at `at` in a block of `length` bytes; 0 when there is none, as at the end,
 * or none that could be one.
 */
export function recordLengthIn(bytes: Buffer, at: number, length: number): number {
  if (at + headerLength + 8 > length || bytes[at] !== Magic.request) return 0
  const recordBytes = headerLength + readUint32(bytes, at + 8)
  return at + recordBytes > length ? 0 : recordBytes
}

/** Where the record with this seqno lies in a block; 0 when it is not there. */
export function findInBlock(bytes: Buffer, length: number, seqno: number): number {
  for (let at = blockHeadLength; ;) {
    const recordBytes = recordLengthIn(bytes, at, length)
    if (recordBytes === 0) return 0
    if (readSeqno(bytes, at + headerLength) === seqno) return at
    at += recordBytes
  }
}

export function countInBlock(bytes: Buffer, length: number): number {
  let count = 0
  for (let at = blockHeadLength; ; count++) {
    const recordBytes = recordLengthIn(bytes, at, length)
    if (recordBytes === 0) return count
    at += recordBytes
  }
}
