/**
 * The entry of a key in the index: where its newest record is, and all of its metadata that a write
 * has to know, so that overwriting a document does not read its value.
 *
 *   | key hash u32 | entry length u16 | form u8 | datatype u8 | distance u16 | seqno u64 | cas u64 |
 *   | value length u32 | revno u32 | upper half of revno u32 | flags u32 | time u32 | key … |
 *
 * `form` has the kind in its lowest bits; its others say which of the last three numbers are there:
 * one that is 0 is left out. `distance` is how far the seqno lies behind the name of the block that
 * the record is in. `time` is the expiry of a mutation and the delete time of a tombstone.
 */
import {
  readSeqno,
  readUint16,
  readUint32,
  writeUint16,
  writeUint32,
} from '../../protocol/bytes.ts'
import { hashKey } from './key-hash.ts'
import { collectionOf } from './record-key.ts'
import { RecordKind, type RecordView } from './record.ts'

/** Bytes of an entry in front of what may be left out. */
export const entryFixedLength = 34

const form = { kind: 0x03, revnoHigh: 0x10, flags: 0x20, time: 0x40 } as const

/** By `form >>> 4`: bytes of the numbers that are there. */
const optionalLength = [0, 4, 4, 8, 4, 8, 8, 12]

/** An entry of a record with a key of this length has at most so many bytes. */
export function entryLengthMax(keyLength: number): number {
  return entryFixedLength + 12 + keyLength
}

export function entryHashAt(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at)
}

export function entryLengthAt(bytes: Uint8Array, at: number): number {
  return readUint16(bytes, at + 4)
}

export function entrySeqnoAt(bytes: Uint8Array, at: number): number {
  return readSeqno(bytes, at + 10)
}

/** Where the key of an entry begins; it ends where the entry does. */
export function entryKeyStart(bytes: Uint8Array, at: number): number {
  return at + entryFixedLength + optionalLength[(bytes[at + 6]! >>> 4) & 7]!
}

/** Whether the entry is of this key. */
export function isEntryOf(
  entries: Uint8Array,
  at: number,
  key: Uint8Array,
  start: number,
  length: number,
): boolean {
  const own = entryKeyStart(entries, at)
  if (at + entryLengthAt(entries, at) - own !== length) return false
  for (let i = 0; i < length; i++) if (entries[own + i] !== key[start + i]) return false
  return true
}

/** One reused window on an entry; see `RecordView`. */
export class DocumentEntry {
  #bytes: Uint8Array = new Uint8Array(entryFixedLength)
  #start = 0

  at(bytes: Uint8Array, start: number): this {
    this.#bytes = bytes
    this.#start = start
    return this
  }
  get seqno(): number {
    return entrySeqnoAt(this.#bytes, this.#start)
  }
  get casHigh(): number {
    return readUint32(this.#bytes, this.#start + 18)
  }
  get casLow(): number {
    return readUint32(this.#bytes, this.#start + 22)
  }
  get valueLength(): number {
    return readUint32(this.#bytes, this.#start + 26)
  }
  get revno(): number {
    return this.#optional(form.revnoHigh) * 2 ** 32 + readUint32(this.#bytes, this.#start + 30)
  }
  get flags(): number {
    return this.#optional(form.flags)
  }
  get time(): number {
    return this.#optional(form.time)
  }
  get kind(): RecordKind {
    return (RecordKind.mutation + (this.#form & form.kind)) as RecordKind
  }
  get isDeletion(): boolean {
    return (this.#form & form.kind) !== 0
  }
  get datatype(): number {
    return this.#bytes[this.#start + 7]!
  }
  /** Name of the block that the record is in. */
  get block(): number {
    return this.seqno - readUint16(this.#bytes, this.#start + 8)
  }
  /** Absolute, in seconds; 0: never, and for tombstones. */
  get expiry(): number {
    return this.isDeletion ? 0 : this.time
  }
  get keyLength(): number {
    const start = this.#start
    const end = start + entryLengthAt(this.#bytes, start)
    return end - entryKeyStart(this.#bytes, start)
  }

  get collection(): number {
    return collectionOf(this.#bytes, entryKeyStart(this.#bytes, this.#start))
  }

  get #form(): number {
    return this.#bytes[this.#start + 6]!
  }

  #optional(wanted: number): number {
    const present = this.#form
    if ((present & wanted) === 0) return 0
    const before = optionalLength[((present & (wanted - 1)) >>> 4) & 7]!
    return readUint32(this.#bytes, this.#start + entryFixedLength + before)
  }
}

/**
 * Writes the entry of a record, which is in the block of this name, into `target`, which has room
 * for `entryLengthMax`. Returns its length.
 */
export function writeDocumentEntry(
  record: RecordView,
  block: number,
  target: Uint8Array,
  at: number,
): number {
  const { bytes, start, vbid, kind, seqno, flags, keyStart, keyLength } = record
  const time = record.isDeletion ? record.deleteTime : record.expiry
  const revnoHigh = readUint32(bytes, start + 32)
  writeUint32(target, at, hashKey(vbid, bytes, keyStart, keyLength))
  target[at + 7] = record.datatype
  writeUint16(target, at + 8, seqno - block)
  copy(bytes, start + 24, target, at + 10, 8)
  copy(bytes, start + 16, target, at + 18, 8)
  writeUint32(target, at + 26, record.valueLength)
  copy(bytes, start + 36, target, at + 30, 4)
  let end = at + entryFixedLength
  let present = kind - RecordKind.mutation
  if (revnoHigh !== 0) {
    present |= form.revnoHigh
    writeUint32(target, end, revnoHigh)
    end += 4
  }
  if (flags !== 0) {
    present |= form.flags
    writeUint32(target, end, flags)
    end += 4
  }
  if (time !== 0) {
    present |= form.time
    writeUint32(target, end, time)
    end += 4
  }
  target[at + 6] = present
  copy(bytes, keyStart, target, end, keyLength)
  const length = end + keyLength - at
  writeUint16(target, at + 4, length)
  return length
}

/** A few bytes: a loop is quicker than a call that is not of the language. */
function copy(
  source: Uint8Array,
  start: number,
  target: Uint8Array,
  at: number,
  length: number,
): void {
  for (let i = 0; i < length; i++) target[at + i] = source[start + i]!
}
