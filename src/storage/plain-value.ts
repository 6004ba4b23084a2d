/**
 * The plain bytes of a stored value. Whoever looks into a value does so here: what is stored may be
 * one Snappy block, extended attributes and all.
 *
 *   plain:       | attributes, if datatype has the xattr bit: u32 length of what follows, … | body |
 *   compressed:  | a Snappy block that stands for all of the above |
 */
import { Datatype } from '../../protocol/datatype.ts'
import { readUint32 } from '../../protocol/bytes.ts'
import { invariant } from '../errors.ts'
import type { RecordView } from './record.ts'
import { expand, expandedLength } from './snappy.ts'

/** Bytes of the attributes in front of a plain value whose datatype says that it has some. */
export function xattrBytes(
  bytes: Uint8Array,
  start: number,
  length: number,
  datatype: number,
): number {
  if ((datatype & Datatype.xattr) === 0 || length < 4) return 0
  return Math.min(length, 4 + readUint32(bytes, start))
}

/** Bytes that the record's value has when it is plain. */
export function plainLength(record: RecordView): number {
  const { datatype, valueLength } = record
  if ((datatype & Datatype.snappy) === 0) return valueLength
  return expandedLength(record.bytes, record.valueStart, valueLength)
}

/**
 * A window on a plain value. One object is used again and again: what it shows is valid as long as
 * the record is that it was last moved to.
 */
export class PlainValue {
  bytes: Buffer = Buffer.alloc(0)
  start = 0
  end = 0
  /** Without the bit for Snappy. */
  datatype = 0

  /** Shows a record's value where it lies or, if it is compressed, expanded in memory of its own. */
  of(record: RecordView): this {
    const { bytes, valueStart, end, datatype } = record
    if ((datatype & Datatype.snappy) === 0) return this.at(bytes, valueStart, end, datatype)
    const expanded = expand(bytes, valueStart, end - valueStart)
    invariant(expanded, 'a compressed value was looked at before it was stored')
    return this.at(expanded, 0, expanded.length, datatype & ~Datatype.snappy)
  }

  at(bytes: Buffer, start: number, end: number, datatype: number): this {
    this.bytes = bytes
    this.start = start
    this.end = end
    this.datatype = datatype
    return this
  }

  get length(): number {
    return this.end - this.start
  }
  /** Where the body begins, behind the attributes. */
  get bodyStart(): number {
    return this.start + xattrBytes(this.bytes, this.start, this.end - this.start, this.datatype)
  }
  /** Shows the body only. */
  dropXattrs(): void {
    this.start = this.bodyStart
    this.datatype &= ~Datatype.xattr
  }
}
