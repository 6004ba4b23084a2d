/**
 * Turns a record into the frame that one stream's client negotiated. Used by the backfill worker
 * and by the in-memory phase alike, so that a change looks the same whichever way it came.
 */
import { writeUint16, writeUint32 } from '../../protocol/bytes.ts'
import { headerLength } from '../../protocol/header.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { defaultPrefixLength } from './record-key.ts'
import { opaqueOffset, type RecordView } from './record.ts'

/** What a stream's client asked its frames to be. Plain data: it is sent to the worker. */
export interface FrameForm {
  /** Of the stream request; repeated in every frame. */
  opaque: number
  /** Send keys and metadata only. */
  noValue: boolean
  /** Keep extended attributes in front of the value; otherwise they are cut off. */
  includeXattrs: boolean
  /** Deletions in their second form, with delete time. */
  deleteTimes: boolean
  /** Expirations under their own opcode instead of as deletions. */
  expiryOpcode: boolean
  /** Keys with the id of their collection. Without, there is the default collection only. */
  collections: boolean
}

/** Bytes of the attributes in front of a value whose datatype says that it has some. */
export function xattrLength(record: RecordView): number {
  if ((record.datatype & Datatype.xattr) === 0 || record.valueLength < 4) return 0
  return Math.min(record.valueLength, 4 + record.bytes.readUInt32BE(record.valueStart))
}

function keyStartIn(record: RecordView, form: FrameForm): number {
  return record.keyStart + (form.collections ? 0 : defaultPrefixLength)
}

function valueStartIn(record: RecordView, form: FrameForm): number {
  return record.valueStart + (form.includeXattrs ? 0 : xattrLength(record))
}

function valueEndIn(record: RecordView, form: FrameForm, valueStart: number): number {
  if (!form.noValue) return record.end
  return form.includeXattrs ? record.valueStart + xattrLength(record) : valueStart
}

function extrasLengthIn(record: RecordView, form: FrameForm): number {
  if (!record.isDeletion) return 31
  if (record.isExpiration && form.expiryOpcode) return 20
  return form.deleteTimes ? 21 : 18
}

/** Bytes that `writeFrame` writes. */
export function frameLength(record: RecordView, form: FrameForm): number {
  if (isSentWhole(record, form)) return record.length
  const keyLength = record.valueStart - keyStartIn(record, form)
  const valueStart = valueStartIn(record, form)
  const valueLength = valueEndIn(record, form, valueStart) - valueStart
  return headerLength + extrasLengthIn(record, form) + keyLength + valueLength
}

/** Whether a frame is its record as it lies there, but for the opaque. */
export function isSentWhole(record: RecordView, form: FrameForm): boolean {
  if (!form.collections || form.noValue || record.isDeletion) return false
  return form.includeXattrs || (record.datatype & Datatype.xattr) === 0
}

/** Writes the frame at `offset` and returns the bytes written. */
export function writeFrame(
  record: RecordView,
  form: FrameForm,
  target: Buffer,
  offset: number,
): number {
  const { bytes, start } = record
  if (isSentWhole(record, form)) {
    const { end } = record
    bytes.copy(target, offset, start, end)
    writeUint32(target, offset + opaqueOffset, form.opaque)
    return end - start
  }
  const extrasLength = extrasLengthIn(record, form)
  // A loop: so few bytes are copied before a call to do it has begun.
  for (let at = 0, end = headerLength + Math.min(extrasLength, record.extrasLength); at < end; at++)
    target[offset + at] = bytes[start + at]!
  if (record.isDeletion) writeDeletionExtras(target, offset, extrasLength)
  const position = offset + headerLength + extrasLength
  const keyStart = keyStartIn(record, form)
  const keyLength = record.valueStart - keyStart
  const valueStart = valueStartIn(record, form)
  const valueEnd = valueEndIn(record, form, valueStart)
  if (valueStart === record.valueStart) bytes.copy(target, position, keyStart, valueEnd)
  else {
    bytes.copy(target, position, keyStart, record.valueStart)
    bytes.copy(target, position + keyLength, valueStart, valueEnd)
  }
  const valueLength = valueEnd - valueStart
  const bodyLength = extrasLength + keyLength + valueLength
  writeUint16(target, offset + 2, keyLength)
  target[offset + 4] = extrasLength
  target[offset + 5] = datatypeIn(record, form, valueLength)
  writeUint32(target, offset + 8, bodyLength)
  writeUint32(target, offset + opaqueOffset, form.opaque)
  return headerLength + bodyLength
}

/** Behind revno: version 1 carries u16 nmeta, version 2 and expirations the delete time. */
function writeDeletionExtras(target: Buffer, offset: number, extrasLength: number): void {
  const asExpiration = extrasLength === 20
  target[offset + 1] = asExpiration ? Opcode.dcpExpiration : Opcode.dcpDeletion
  if (extrasLength === 18) writeUint16(target, offset + headerLength + 16, 0)
  if (extrasLength === 21) target[offset + headerLength + 20] = 0
}

function datatypeIn(record: RecordView, form: FrameForm, valueLength: number): number {
  const kept = form.includeXattrs ? record.datatype : record.datatype & ~Datatype.xattr
  if (valueLength === 0) return 0
  return form.noValue ? kept & Datatype.xattr : kept
}
