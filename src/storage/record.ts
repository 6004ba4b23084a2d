/**
 * A record: one version of one document, in the form in which it lies on disk, in the change log
 * and on the wire. It is a DCP frame; a backfill copies it and writes the stream's opaque into it.
 *
 *   byte 0   magic 0x80
 *        1   opcode: 0x57 mutation, 0x58 deletion, 0x59 expiration
 *        2   key length u16
 *        4   extras length u8 (31, 21, 20)
 *        5   datatype u8
 *        6   vbid u16
 *        8   body length u32 = extras + key + value
 *       12   on the wire: opaque; at rest: CRC-32 of the record with these four bytes zero
 *       16   cas u64
 *       24   extras: seqno u64, revno u64, then
 *            mutation:   flags u32, expiry u32, lock time u32, nmeta u16, nru u8
 *            deletion:   delete time u32, unused u8
 *            expiration: delete time u32
 *        …   key, value
 */
import { crc32 } from 'node:zlib'
import { headerLength } from '../../protocol/header.ts'
import { Magic } from '../../protocol/magic.ts'
import { Opcode } from '../../protocol/opcode.ts'

export const RecordKind = {
  mutation: Opcode.dcpMutation,
  deletion: Opcode.dcpDeletion,
  expiration: Opcode.dcpExpiration,
} as const
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind]

export const checksumOffset = 12
const seqnoOffset = headerLength
const revnoOffset = headerLength + 8
const flagsOffset = headerLength + 16
const expiryOffset = headerLength + 20
const deleteTimeOffset = headerLength + 16

/** Bytes of extras of a record of this kind. */
export function extrasLengthOf(kind: RecordKind): number {
  return kind === RecordKind.mutation ? 31 : kind === RecordKind.deletion ? 21 : 20
}

/** Bytes of a whole record. */
export function recordLength(kind: RecordKind, keyLength: number, valueLength: number): number {
  return headerLength + extrasLengthOf(kind) + keyLength + valueLength
}

/**
 * A window on a record inside some buffer. One view is moved over many records: what it shows is
 * valid until its owner moves it. The accessors read the bytes in place and allocate nothing,
 * but for those that return a bigint or a Buffer.
 */
export class RecordView {
  bytes: Buffer = Buffer.alloc(0)
  start = 0

  at(bytes: Buffer, start: number): this {
    this.bytes = bytes
    this.start = start
    return this
  }

  get kind(): RecordKind {
    return this.bytes[this.start + 1] as RecordKind
  }
  get isDeletion(): boolean {
    return this.kind !== RecordKind.mutation
  }
  get isExpiration(): boolean {
    return this.kind === RecordKind.expiration
  }
  get keyLength(): number {
    return this.bytes.readUInt16BE(this.start + 2)
  }
  get extrasLength(): number {
    return this.bytes[this.start + 4]!
  }
  get datatype(): number {
    return this.bytes[this.start + 5]!
  }
  get vbid(): number {
    return this.bytes.readUInt16BE(this.start + 6)
  }
  get length(): number {
    return headerLength + this.bytes.readUInt32BE(this.start + 8)
  }
  get casHigh(): number {
    return this.bytes.readUInt32BE(this.start + 16)
  }
  get casLow(): number {
    return this.bytes.readUInt32BE(this.start + 20)
  }
  get cas(): bigint {
    return this.bytes.readBigUInt64BE(this.start + 16)
  }
  get seqno(): number {
    return readSafe(this.bytes, this.start + seqnoOffset)
  }
  get revno(): number {
    return readSafe(this.bytes, this.start + revnoOffset)
  }
  /** 0 for tombstones. */
  get flags(): number {
    return this.isDeletion ? 0 : this.bytes.readUInt32BE(this.start + flagsOffset)
  }
  /** Absolute, in seconds; 0: never, and for tombstones. */
  get expiry(): number {
    return this.isDeletion ? 0 : this.bytes.readUInt32BE(this.start + expiryOffset)
  }
  /** In seconds since the epoch; 0 for documents that live. */
  get deleteTime(): number {
    return this.isDeletion ? this.bytes.readUInt32BE(this.start + deleteTimeOffset) : 0
  }
  get keyStart(): number {
    return this.start + headerLength + this.extrasLength
  }
  get valueStart(): number {
    return this.keyStart + this.keyLength
  }
  get end(): number {
    return this.start + this.length
  }
  get valueLength(): number {
    return this.end - this.valueStart
  }
  /** A view, not a copy. */
  key(): Buffer {
    return this.bytes.subarray(this.keyStart, this.valueStart)
  }
  /** A view, not a copy. */
  value(): Buffer {
    return this.bytes.subarray(this.valueStart, this.end)
  }
}

export interface RecordHead {
  kind: RecordKind
  vbid: number
  datatype: number
  casHigh: number
  casLow: number
  seqno: number
  revno: number
  flags: number
  /** Expiry of a mutation, delete time of a tombstone; seconds since the epoch. */
  time: number
}

/** Writes all of a record but its key and value, which the caller copies behind it. */
export function writeRecordHead(
  target: Buffer,
  start: number,
  head: RecordHead,
  keyLength: number,
  valueLength: number,
): void {
  const extrasLength = extrasLengthOf(head.kind)
  target[start] = Magic.request
  target[start + 1] = head.kind
  target.writeUInt16BE(keyLength, start + 2)
  target[start + 4] = extrasLength
  target[start + 5] = head.datatype
  target.writeUInt16BE(head.vbid, start + 6)
  target.writeUInt32BE(extrasLength + keyLength + valueLength, start + 8)
  target.writeUInt32BE(0, start + checksumOffset)
  target.writeUInt32BE(head.casHigh, start + 16)
  target.writeUInt32BE(head.casLow, start + 20)
  writeSafe(target, start + seqnoOffset, head.seqno)
  writeSafe(target, start + revnoOffset, head.revno)
  if (head.kind === RecordKind.mutation) {
    target.writeUInt32BE(head.flags, start + flagsOffset)
    target.writeUInt32BE(head.time, start + expiryOffset)
    target.fill(0, start + expiryOffset + 4, start + headerLength + extrasLength)
  } else {
    target.writeUInt32BE(head.time, start + deleteTimeOffset)
    if (extrasLength === 21) target[start + deleteTimeOffset + 4] = 0
  }
}

/** CRC-32 of a record as it lies at rest, its checksum field counted as zero. */
function checksumOf(bytes: Buffer, start: number, length: number): number {
  const before = crc32(bytes.subarray(start, start + checksumOffset))
  return crc32(bytes.subarray(start + checksumOffset + 4, start + length), before)
}

/** Writes the checksum into a record that is about to go to disk. */
export function sealRecord(bytes: Buffer, start: number, length: number): void {
  bytes.writeUInt32BE(checksumOf(bytes, start, length), start + checksumOffset)
}

/**
 * Whether the bytes read from disk are the record that was written as (vbid, seqno): its shape,
 * its place and its checksum. False means a damaged page.
 */
export function isIntact(
  bytes: Buffer,
  start: number,
  length: number,
  vbid: number,
  seqno: number,
): boolean {
  return (
    length >= headerLength + 20 &&
    bytes[start] === Magic.request &&
    headerLength + bytes.readUInt32BE(start + 8) === length &&
    bytes.readUInt16BE(start + 6) === vbid &&
    readSafe(bytes, start + seqnoOffset) === seqno &&
    bytes.readUInt32BE(start + checksumOffset) === checksumOf(bytes, start, length)
  )
}

function readSafe(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4)
}

function writeSafe(bytes: Buffer, at: number, value: number): void {
  // A client may bring the greatest revision number, which reads as 2^64.
  if (value >= 2 ** 64) {
    bytes.fill(0xff, at, at + 8)
    return
  }
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at)
  bytes.writeUInt32BE(value >>> 0, at + 4)
}
