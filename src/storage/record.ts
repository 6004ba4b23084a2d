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
 *       12   on the wire: opaque; at rest: CRC-32 of the record without these four bytes
 *       16   cas u64
 *       24   extras: seqno u64, revno u64, then
 *            mutation:   flags u32, expiry u32, lock time u32, nmeta u16, nru u8
 *            deletion:   delete time u32, unused u8
 *            expiration: delete time u32
 *            of these two at rest, if not 0, as no frame has them: flags u32
 *        …   key, value
 */
import { crc32 } from '../checksum.ts'
import {
  readSeqno,
  readUint16,
  readUint32,
  writeSeqno,
  writeUint16,
  writeUint32,
} from '../../protocol/bytes.ts'
import { headerLength } from '../../protocol/header.ts'
import { Magic } from '../../protocol/magic.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { setShared } from './copy-shared.ts'

export const RecordKind = {
  mutation: Opcode.dcpMutation,
  deletion: Opcode.dcpDeletion,
  expiration: Opcode.dcpExpiration,
} as const
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind]

/** Where a record at rest has its checksum. */
export const opaqueOffset = 12
const tailOffset = opaqueOffset + 4
const seqnoOffset = headerLength
const revnoOffset = headerLength + 8
const flagsOffset = headerLength + 16
const expiryOffset = headerLength + 20
const deleteTimeOffset = headerLength + 16

const flagsLength = 4
export const mutationExtrasLength = 31

/** Bytes of extras of a record of this kind. */
export function extrasLengthOf(kind: RecordKind, flags: number): number {
  if (kind === RecordKind.mutation) return mutationExtrasLength
  return (kind === RecordKind.deletion ? 21 : 20) + (flags === 0 ? 0 : flagsLength)
}

/** Bytes of a whole record. */
export function recordLength(
  kind: RecordKind,
  keyLength: number,
  valueLength: number,
  flags: number,
): number {
  return headerLength + extrasLengthOf(kind, flags) + keyLength + valueLength
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
    return readUint16(this.bytes, this.start + 2)
  }
  get extrasLength(): number {
    return this.bytes[this.start + 4]!
  }
  get datatype(): number {
    return this.bytes[this.start + 5]!
  }
  /** Only by whom the record is being made. */
  markDatatype(datatype: number): void {
    this.bytes[this.start + 5] = datatype
  }
  get vbid(): number {
    return readUint16(this.bytes, this.start + 6)
  }
  get length(): number {
    return headerLength + readUint32(this.bytes, this.start + 8)
  }
  get casHigh(): number {
    return readUint32(this.bytes, this.start + 16)
  }
  get casLow(): number {
    return readUint32(this.bytes, this.start + 20)
  }
  get cas(): bigint {
    return this.bytes.readBigUInt64BE(this.start + 16)
  }
  get seqno(): number {
    return readSeqno(this.bytes, this.start + seqnoOffset)
  }
  get revno(): number {
    return readSeqno(this.bytes, this.start + revnoOffset)
  }
  /** Those of a tombstone came with it from elsewhere. */
  get flags(): number {
    if (!this.isDeletion) return readUint32(this.bytes, this.start + flagsOffset)
    const { keyStart, extrasLength } = this
    return extrasLength < 24 ? 0 : readUint32(this.bytes, keyStart - flagsLength)
  }
  /** Absolute, in seconds; 0: never, and for tombstones. */
  get expiry(): number {
    return this.isDeletion ? 0 : readUint32(this.bytes, this.start + expiryOffset)
  }
  /** In seconds since the epoch; 0 for documents that live. */
  get deleteTime(): number {
    return this.isDeletion ? readUint32(this.bytes, this.start + deleteTimeOffset) : 0
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
  const extrasLength = extrasLengthOf(head.kind, head.flags)
  target[start] = Magic.request
  target[start + 1] = head.kind
  writeUint16(target, start + 2, keyLength)
  target[start + 4] = extrasLength
  target[start + 5] = head.datatype
  writeUint16(target, start + 6, head.vbid)
  writeUint32(target, start + 8, extrasLength + keyLength + valueLength)
  writeUint32(target, start + opaqueOffset, 0)
  writeUint32(target, start + 16, head.casHigh)
  writeUint32(target, start + 20, head.casLow)
  writeSeqno(target, start + seqnoOffset, head.seqno)
  writeRevno(target, start + revnoOffset, head.revno)
  if (head.kind === RecordKind.mutation) {
    writeUint32(target, start + flagsOffset, head.flags)
    writeUint32(target, start + expiryOffset, head.time)
    // A loop: filling a few bytes by a call takes longer than all the rest of this.
    for (let at = start + expiryOffset + 4; at < start + headerLength + extrasLength; at++) {
      target[at] = 0
    }
  } else {
    writeUint32(target, start + deleteTimeOffset, head.time)
    if (head.kind === RecordKind.deletion) target[start + deleteTimeOffset + 4] = 0
    if (head.flags !== 0) {
      writeUint32(target, start + headerLength + extrasLength - flagsLength, head.flags)
    }
  }
}

/** CRC-32 of a record as it lies at rest, its checksum field left out: what `tail` shows is behind that. */
function checksumOf(bytes: Buffer, start: number, tail: Uint8Array): number {
  // The few bytes in front are quicker summed here than by another call.
  let sum = 0xffffffff
  for (let at = start; at < start + opaqueOffset; at++) {
    sum = crcTable[(sum ^ bytes[at]!) & 0xff]! ^ (sum >>> 8)
  }
  return crc32(tail, (sum ^ 0xffffffff) >>> 0)
}

/** What a byte does to a CRC-32 (ISO 3309, the polynomial reflected). */
const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let sum = byte
  for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0)
  return sum
})

/** A plain view: one of a `Buffer` takes twice as long to make. */
function tailOf(bytes: Buffer, start: number, length: number): Uint8Array {
  const from = bytes.byteOffset + start + tailOffset
  return new Uint8Array(bytes.buffer, from, length - tailOffset)
}

/** Writes the checksum into a record that is about to go to disk. */
export function sealRecord(bytes: Buffer, start: number, length: number): void {
  writeUint32(bytes, start + opaqueOffset, checksumOf(bytes, start, tailOf(bytes, start, length)))
}

/** Copies a record and writes the checksum into the copy. */
export function copySealed({ bytes, start, length }: RecordView, target: Buffer, at: number): void {
  const tail = tailOf(bytes, start, length)
  for (let i = 0; i < opaqueOffset; i++) target[at + i] = bytes[start + i]!
  setShared(tail, target, at + tailOffset)
  writeUint32(target, at + opaqueOffset, checksumOf(target, at, tail))
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
    headerLength + readUint32(bytes, start + 8) === length &&
    readUint16(bytes, start + 6) === vbid &&
    readSeqno(bytes, start + seqnoOffset) === seqno &&
    readUint32(bytes, start + opaqueOffset) ===
      checksumOf(bytes, start, tailOf(bytes, start, length))
  )
}

/** A client may bring any revision number up to the greatest, which reads as 2^64. */
function writeRevno(target: Buffer, at: number, revno: number): void {
  const isGreatest = revno >= 2 ** 64
  writeUint32(target, at, isGreatest ? 0xffffffff : Math.floor(revno / 2 ** 32))
  writeUint32(target, at + 4, isGreatest ? 0xffffffff : revno >>> 0)
}
