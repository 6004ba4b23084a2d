import {
  readSeqno,
  readUint16,
  readUint32,
  readUint64,
  uint64High,
  uint64Low,
  writeSeqno,
  writeUint16,
  writeUint32,
} from '../../../protocol/bytes.ts'
import { damaged } from '../errors.ts'
import { crc32c } from '../../checksum.ts'

/**
 * One change of one document. Numbers are big-endian.
 *
 * ```
 *        0               4
 *       +---------------+---------------+
 *     0 | CRC-32C       | value length  |   the checksum is of all that follows it in the record
 *       +---------------+---------------+
 *     8 | seqno                         |
 *       +---------------+---------------+
 *    16 | cas                           |
 *       +---------------+---------------+
 *    24 | revno                         |
 *       +---------------+---------------+
 *    32 | flags         | time          |   expiry of a mutation, else when it was deleted
 *       +---+---+-------+---------------+
 *    40 | k | d | key l.| collection id |   kind, datatype, key length
 *       +---+---+-------+---------------+
 *    48 | key, value
 * ```
 *
 * A value is what the change stream carried, as `datatype` says: with its extended attributes in
 * front, compressed if it was. Seqnos of an object only grow.
 */
export const recordHeaderLength = 48
/** Where the collection id is; the key stands right behind it. */
export const collectionIdOffset = 44

export const RecordKind = {
  mutation: 1,
  deletion: 2,
  expiration: 3,
} as const
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind]

/** Name of the kind, by its number. */
export const recordKindName = ['', 'mutation', 'deletion', 'expiration'] as const

/** The greatest value that a record can say the length of; no server takes as much. */
export const valueLengthMax = 2 ** 31 - 1

export interface ArchiveRecord {
  readonly kind: RecordKind
  readonly seqno: number
  readonly cas: bigint
  readonly revno: number
  readonly flags: number
  /** Seconds since the epoch: expiry of a mutation (0: never), else its deletion (0: untold). */
  readonly time: number
  readonly datatype: number
  /** 0: the default collection. */
  readonly collectionId: number
  /** Without a collection's prefix. */
  readonly key: Buffer
  readonly value: Buffer
}

/** What can be put into a block: numbers of 64 bits in halves, and the document wherever it lies. */
export interface RecordForm {
  readonly kind: RecordKind
  readonly seqno: number
  readonly casHigh: number
  readonly casLow: number
  readonly revnoHigh: number
  readonly revnoLow: number
  readonly flags: number
  readonly time: number
  readonly datatype: number
  readonly collectionId: number
  readonly keyLength: number
  readonly valueLength: number
  /** Copies key and value, one behind the other. */
  copyDocument(target: Buffer, at: number): void
}

export function formOf(record: ArchiveRecord): RecordForm {
  const { kind, seqno, cas, revno, flags, time, datatype, collectionId, key, value } = record
  return {
    kind,
    seqno,
    casHigh: uint64High(cas),
    casLow: uint64Low(cas),
    revnoHigh: Math.floor(revno / 2 ** 32),
    revnoLow: revno % 2 ** 32,
    flags,
    time,
    datatype,
    collectionId,
    keyLength: key.length,
    valueLength: value.length,
    copyDocument(target, at) {
      target.set(key, at)
      target.set(value, at + key.length)
    },
  }
}

export function recordLength(record: ArchiveRecord): number {
  return recordHeaderLength + record.key.length + record.value.length
}

/** Writes the record at `at`, where there is room for it; returns the end. */
export function encodeRecord(target: Buffer, at: number, record: ArchiveRecord): number {
  const end = encodeUnsealedRecord(target, at, formOf(record))
  writeUint32(target, at, crc32c(target, at + 4, end))
  return end
}

/** The same but for the checksum, which `sealRecord` is to write. */
export function encodeUnsealedRecord(target: Buffer, at: number, form: RecordForm): number {
  const { keyLength, valueLength } = form
  const start = at + recordHeaderLength
  writeUint32(target, at + 4, valueLength)
  writeSeqno(target, at + 8, form.seqno)
  writeUint32(target, at + 16, form.casHigh)
  writeUint32(target, at + 20, form.casLow)
  writeUint32(target, at + 24, form.revnoHigh)
  writeUint32(target, at + 28, form.revnoLow)
  writeUint32(target, at + 32, form.flags)
  writeUint32(target, at + 36, form.time)
  target[at + 40] = form.kind
  target[at + 41] = form.datatype
  writeUint16(target, at + 42, keyLength)
  writeUint32(target, at + collectionIdOffset, form.collectionId)
  form.copyDocument(target, start)
  return start + keyLength + valueLength
}

/** Writes the checksum of the record at `at`; returns where its key and where it ends. */
export function sealRecord(bytes: Buffer, at: number): { keyEnd: number; end: number } {
  const keyEnd = at + recordHeaderLength + readUint16(bytes, at + 42)
  const end = keyEnd + readUint32(bytes, at + 4)
  writeUint32(bytes, at, crc32c(bytes, at + 4, end))
  return { keyEnd, end }
}

/** The records of a block, each checked; key and value are views of `bytes`. */
export function* decodeRecords(bytes: Buffer): Generator<ArchiveRecord, void> {
  let at = 0
  while (at < bytes.length) {
    const record = decodeRecord(bytes, at)
    yield record
    at += recordLength(record)
  }
}

function decodeRecord(bytes: Buffer, at: number): ArchiveRecord {
  if (at + recordHeaderLength > bytes.length) throw damaged('a record is cut off')
  const keyStart = at + recordHeaderLength
  const valueStart = keyStart + readUint16(bytes, at + 42)
  const end = valueStart + readUint32(bytes, at + 4)
  if (end > bytes.length) throw damaged('a record is longer than its block')
  if (crc32c(bytes, at + 4, end) !== readUint32(bytes, at))
    throw damaged('the checksum of a record is wrong')
  return {
    kind: kindOf(bytes[at + 40]!),
    seqno: readSeqno(bytes, at + 8),
    cas: readUint64(bytes, at + 16),
    revno: readSeqno(bytes, at + 24),
    flags: readUint32(bytes, at + 32),
    time: readUint32(bytes, at + 36),
    datatype: bytes[at + 41]!,
    collectionId: readUint32(bytes, at + collectionIdOffset),
    key: bytes.subarray(keyStart, valueStart),
    value: bytes.subarray(valueStart, end),
  }
}

function kindOf(kind: number): RecordKind {
  if (kind < RecordKind.mutation || kind > RecordKind.expiration)
    throw damaged(`a record of unknown kind ${kind}`)
  return kind as RecordKind
}
