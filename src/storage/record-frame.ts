/**
 * Turns a record into the frame that one stream's client negotiated. Used by the backfill worker
 * and by the in-memory phase alike, so that a change looks the same whichever way it came.
 */
import { writeUint16, writeUint32 } from '../../protocol/bytes.ts'
import { headerLength } from '../../protocol/header.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { systemXattrs } from '../../protocol/xattrs.ts'
import { copyShared } from './copy-shared.ts'
import { PlainValue } from './plain-value.ts'
import type { CollectionFilter } from './record-filter.ts'
import { defaultPrefixLength } from './record-key.ts'
import { mutationExtrasLength, opaqueOffset, RecordView } from './record.ts'
import { compress, mayPay } from './snappy.ts'
import { streamIdFramingLength, writeStreamIdHeader } from './stream-id-frame.ts'
import { systemEventFrameLength, writeSystemEventFrame } from './system-event-frame.ts'
import { isSystemEvent } from './system-event-record.ts'

/** What a stream's client asked its frames to be. Plain data: it is sent to the worker. */
export interface FrameForm {
  /** Of the stream request; repeated in every frame. */
  opaque: number
  /** Send keys and metadata only. */
  noValue: boolean
  /** Keep extended attributes in front of the value; otherwise they are cut off. */
  includeXattrs: boolean
  /** Of these, keep those of users on tombstones, too. */
  deletedUserXattrs: boolean
  /** Send compressed what is stored compressed; otherwise it is expanded. */
  keepSnappy: boolean
  /** Compress what is not, if that saves enough. */
  forceSnappy: boolean
  /** Deletions in their second form, with delete time. */
  deleteTimes: boolean
  /** Expirations under their own opcode instead of as deletions. */
  expiryOpcode: boolean
  /**
   * Keys with the id of their collection, and system events. Without, there is nothing but the
   * default collection.
   */
  collections: boolean
  /** What of that is wanted; undefined: all. */
  filter: CollectionFilter | undefined
  /** In a framing extra of every frame; 0: there is none. */
  streamId: number
}

/** Times that a value must get smaller to be sent compressed. */
const ratioMin = 1 / 0.85

/** Whether a frame is its record as it lies there, but for the opaque. */
export function isSentWhole(record: RecordView, form: FrameForm): boolean {
  if (!form.collections || form.streamId !== 0 || form.noValue) return false
  if (record.isDeletion || isSystemEvent(record)) return false
  return isValueSentWhole(record, form)
}

/** Whether the value is sent as it is stored, if it is sent at all. */
function isValueSentWhole(record: RecordView, form: FrameForm): boolean {
  const { datatype } = record
  if ((datatype & Datatype.xattr) !== 0 && !form.includeXattrs) return false
  if ((datatype & Datatype.snappy) !== 0) return form.keepSnappy
  return !form.forceSnappy || !mayPay(record.valueLength)
}

/** Clients that did not ask for them do not expect attributes of users on tombstones. */
function hidesUserXattrs(record: RecordView, form: FrameForm): boolean {
  if (!record.isDeletion || form.deletedUserXattrs) return false
  return form.includeXattrs && (record.datatype & Datatype.xattr) !== 0
}

function extrasLengthIn(record: RecordView, form: FrameForm): number {
  if (!record.isDeletion) return mutationExtrasLength
  if (record.isExpiration && form.expiryOpcode) return 20
  return form.deleteTimes ? 21 : 18
}

/**
 * A record on its way out. One object is used again and again; it is valid as long as the record
 * that it was last made of.
 */
export class OutgoingFrame {
  #record = new RecordView()
  #opaque = 0
  #streamId = 0
  #isWhole = false
  #isEvent = false
  #extrasLength = 0
  #keyStart = 0
  /** The value as it is sent. */
  readonly #value = new PlainValue()
  /** Bytes that `write` writes. */
  length = 0

  of(record: RecordView, form: FrameForm): this {
    this.#record = record
    this.#opaque = form.opaque
    this.#isWhole = isSentWhole(record, form)
    if (this.#isWhole) {
      this.length = record.length
      return this
    }
    this.#streamId = form.streamId
    const framingLength = form.streamId === 0 ? 0 : streamIdFramingLength
    this.#isEvent = isSystemEvent(record)
    if (this.#isEvent) {
      this.length = framingLength + systemEventFrameLength(record)
      return this
    }
    this.#keyStart = record.keyStart + (form.collections ? 0 : defaultPrefixLength)
    this.#extrasLength = extrasLengthIn(record, form)
    this.#shapeValue(record, form)
    const keyLength = record.valueStart - this.#keyStart
    const bodyLength = this.#extrasLength + keyLength + this.#value.length
    this.length = headerLength + framingLength + bodyLength
    return this
  }

  /** Writes the frame at `offset` and returns the bytes written. */
  write(target: Buffer, offset: number): number {
    const record = this.#record
    const { bytes, start } = record
    if (this.#isWhole) {
      copyShared(bytes, start, record.end, target, offset)
      writeUint32(target, offset + opaqueOffset, this.#opaque)
      return this.length
    }
    const frameBytes = this.#isEvent
      ? writeSystemEventFrame(record, this.#opaque, target, offset)
      : this.#writeChange(target, offset)
    if (this.#streamId !== 0) writeStreamIdHeader(target, offset, frameBytes, this.#streamId)
    return this.length
  }

  /** What is not sent as it lies there. */
  #writeChange(target: Buffer, offset: number): number {
    const record = this.#record
    const { bytes } = record
    this.#writeHead(target, offset)
    const position = offset + headerLength + this.#extrasLength
    const keyStart = this.#keyStart
    const { bytes: valueBytes, start: valueStart, end: valueEnd } = this.#value
    if (valueBytes === bytes && valueStart === record.valueStart) {
      copyShared(bytes, keyStart, valueEnd, target, position)
    } else {
      bytes.copy(target, position, keyStart, record.valueStart)
      const valueAt = position + record.valueStart - keyStart
      copyShared(valueBytes, valueStart, valueEnd, target, valueAt)
    }
    return position - offset + record.valueStart - keyStart + this.#value.length
  }

  #writeHead(target: Buffer, offset: number): void {
    const record = this.#record
    const extrasLength = this.#extrasLength
    const { bytes, start } = record
    const copied = headerLength + Math.min(extrasLength, record.extrasLength)
    // A loop: so few bytes are copied before a call to do it has begun.
    for (let at = 0; at < copied; at++) target[offset + at] = bytes[start + at]!
    if (record.isDeletion) writeDeletionExtras(target, offset, extrasLength)
    writeUint16(target, offset + 2, record.valueStart - this.#keyStart)
    target[offset + 4] = extrasLength
    target[offset + 5] = this.#value.datatype
    const keyLength = record.valueStart - this.#keyStart
    writeUint32(target, offset + 8, extrasLength + keyLength + this.#value.length)
    writeUint32(target, offset + opaqueOffset, this.#opaque)
  }

  /** Cuts the value to what the client wants of it, and compresses or expands it. */
  #shapeValue(record: RecordView, form: FrameForm): void {
    const value = this.#value
    if (hidesUserXattrs(record, form)) this.#dropUserXattrs(record)
    else if (form.noValue) this.#dropBody(record, form)
    else if (isValueSentWhole(record, form)) {
      value.at(record.bytes, record.valueStart, record.end, record.datatype)
    } else {
      value.of(record)
      if (!form.includeXattrs) value.dropXattrs()
      if (form.forceSnappy) compressValue(value)
    }
    if (value.length === 0) value.datatype = 0
  }

  #dropUserXattrs(record: RecordView): void {
    const { bytes, start, bodyStart } = this.#value.of(record)
    const kept = systemXattrs(Buffer.from(bytes.subarray(start, bodyStart)))
    this.#value.at(kept, 0, kept.length, Datatype.xattr)
  }

  #dropBody(record: RecordView, form: FrameForm): void {
    const value = this.#value
    if (form.includeXattrs && (record.datatype & Datatype.xattr) !== 0) {
      const { bytes, start, bodyStart } = value.of(record)
      value.at(bytes, start, bodyStart, Datatype.xattr)
    } else value.at(record.bytes, record.valueStart, record.valueStart, Datatype.raw)
  }
}

function compressValue(value: PlainValue): void {
  const block = compress(value.bytes, value.start, value.length, ratioMin)
  if (block) value.at(block, 0, block.length, value.datatype | Datatype.snappy)
}

/** Behind revno: version 1 carries u16 nmeta, version 2 and expirations the delete time. */
function writeDeletionExtras(target: Buffer, offset: number, extrasLength: number): void {
  const asExpiration = extrasLength === 20
  target[offset + 1] = asExpiration ? Opcode.dcpExpiration : Opcode.dcpDeletion
  if (extrasLength === 18) writeUint16(target, offset + headerLength + 16, 0)
  if (extrasLength === 21) target[offset + headerLength + 20] = 0
}
