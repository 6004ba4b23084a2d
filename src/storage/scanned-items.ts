/**
 * What a range scan has read, as its client gets it: keys, or documents, one behind the other. Their
 * layout is drawn in protocol/commands/range-scan.ts.
 */
import { leb128Length, writeLeb128 } from '../../protocol/leb128.ts'
import { scannedMetaLength } from '../../protocol/commands/range-scan.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { writeSeqno, writeUint32 } from '../../protocol/bytes.ts'
import { PlainValue } from './plain-value.ts'
import type { RecordView } from './record.ts'

/** What the client of a scan wants of each document. Plain data. */
export interface ItemForm {
  keyOnly: boolean
  includeXattrs: boolean
  /** Values compressed as they are stored; otherwise they are expanded. */
  keepSnappy: boolean
  /** Bytes of the collection's id in front of each key, which are left out. */
  prefixLength: number
}

const initialBytes = 8 * 1024
const value = new PlainValue()

export class ScannedItems {
  readonly #form: ItemForm
  #bytes = Buffer.alloc(0)
  length = 0

  constructor(form: ItemForm) {
    this.#form = form
  }

  /** The key as bytes in a string (latin1). */
  addKey(key: string): void {
    const { prefixLength } = this.#form
    const keyLength = key.length - prefixLength
    this.#reserve(leb128Length(keyLength) + keyLength)
    this.length += writeLeb128(this.#bytes, this.length, keyLength)
    this.length += this.#bytes.write(key.slice(prefixLength), this.length, 'latin1')
  }

  addDocument(record: RecordView): void {
    const { prefixLength } = this.#form
    this.#shape(record)
    const keyStart = record.keyStart + prefixLength
    const keyLength = record.valueStart - keyStart
    const lengths = leb128Length(keyLength) + leb128Length(value.length)
    this.#reserve(scannedMetaLength + lengths + keyLength + value.length)
    const bytes = this.#bytes
    let at = this.length
    writeUint32(bytes, at, record.flags)
    writeUint32(bytes, at + 4, record.expiry)
    writeSeqno(bytes, at + 8, record.seqno)
    writeUint32(bytes, at + 16, record.casHigh)
    writeUint32(bytes, at + 20, record.casLow)
    bytes[at + 24] = value.datatype
    at += scannedMetaLength
    at += writeLeb128(bytes, at, keyLength)
    at += record.bytes.copy(bytes, at, keyStart, record.valueStart)
    at += writeLeb128(bytes, at, value.length)
    bytes.set(value.bytes.subarray(value.start, value.end), at)
    this.length = at + value.length
  }

  /** What there is, in memory of its own; begins anew. */
  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.length)
    this.#bytes = Buffer.alloc(0)
    this.length = 0
    return taken
  }

  #shape(record: RecordView): void {
    const { includeXattrs, keepSnappy } = this.#form
    const { datatype } = record
    const isCut = (datatype & Datatype.xattr) !== 0 && !includeXattrs
    if (keepSnappy && !isCut) value.at(record.bytes, record.valueStart, record.end, datatype)
    else value.of(record)
    if (isCut) value.dropXattrs()
  }

  #reserve(length: number): void {
    const needed = this.length + length
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafeSlow(Math.max(initialBytes, needed, 2 * this.#bytes.length))
    this.#bytes.copy(grown, 0, 0, this.length)
    this.#bytes = grown
  }
}
