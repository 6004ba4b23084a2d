import { writeSeqno, writeUint16, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength, writeHeader } from '../header.ts'
import { Magic } from '../magic.ts'
import { Opcode } from '../opcode.ts'
import { isMessage } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_DELETION (0x58): a document was deleted. The second form is sent to clients that asked for
 * delete times in DCP_OPEN. The value is empty unless attributes outlive the document.
 *
 * ```
 * v1 extras | seqno u64 | revision seqno u64 | nmeta u16, always 0 |           18 bytes
 * v2 extras | seqno u64 | revision seqno u64 | delete time u32 | unused u8 |   21 bytes
 * ```
 */
export const deletionV1ExtrasLength = 18
export const deletionV2ExtrasLength = 21

/** Where the fields are, counted from the start of the extras; the last is only in the v2 form. */
export const DeletionOffset = { seqno: 0, revno: 8, deleteTime: 16 } as const

export interface Deletion extends DcpMessage {
  casHigh: number
  casLow: number
  datatype: number
  seqno: number
  revno: number
  /** Seconds since the epoch; `undefined` in the v1 form. */
  deleteTime: number | undefined
  key: Uint8Array
  value: Uint8Array
}

/** Positional, for code that writes frames in a hurry. */
export function writeDeletionV1Extras(
  target: Uint8Array,
  at: number,
  seqno: number,
  revno: number,
): void {
  writeSeqno(target, at, seqno)
  writeSeqno(target, at + 8, revno)
  writeUint16(target, at + 16, 0)
}

export function writeDeletionV2Extras(
  target: Uint8Array,
  at: number,
  seqno: number,
  revno: number,
  deleteTime: number,
): void {
  writeSeqno(target, at, seqno)
  writeSeqno(target, at + 8, revno)
  writeUint32(target, at + 16, deleteTime)
  target[at + 20] = 0
}

export function deletionLength(fields: Deletion): number {
  return headerLength + extrasLengthOf(fields) + fields.key.length + fields.value.length
}

function extrasLengthOf(fields: Deletion): number {
  return fields.deleteTime === undefined ? deletionV1ExtrasLength : deletionV2ExtrasLength
}

export function encodeDeletion(target: Uint8Array, offset: number, fields: Deletion): number {
  const { key, value, opaque, vbid, datatype, casHigh, casLow } = fields
  const extrasLength = extrasLengthOf(fields)
  const bodyLength = extrasLength + key.length + value.length
  const magic = Magic.request
  const opcode = Opcode.dcpDeletion
  writeHeader(
    target,
    offset,
    magic,
    opcode,
    key.length,
    extrasLength,
    datatype,
    vbid,
    bodyLength,
    opaque,
    casHigh,
    casLow,
  )
  const extras = offset + headerLength
  const { seqno, revno, deleteTime } = fields
  if (deleteTime === undefined) writeDeletionV1Extras(target, extras, seqno, revno)
  else writeDeletionV2Extras(target, extras, seqno, revno, deleteTime)
  target.set(key, extras + extrasLength)
  target.set(value, extras + extrasLength + key.length)
  return headerLength + bodyLength
}

/** Key and value are views of the frame. */
export function decodeDeletion(frame: Frame): Deletion | undefined {
  const isV2 = isMessage(frame, Opcode.dcpDeletion, deletionV2ExtrasLength)
  if (!isV2 && !isMessage(frame, Opcode.dcpDeletion, deletionV1ExtrasLength)) return undefined
  if (frame.keyLength === 0) return undefined
  return {
    opaque: frame.opaque,
    vbid: frame.vbid,
    casHigh: frame.casHigh,
    casLow: frame.casLow,
    datatype: frame.datatype,
    seqno: frame.extrasSeqno(DeletionOffset.seqno),
    revno: frame.extrasSeqno(DeletionOffset.revno),
    deleteTime: isV2 ? frame.extrasUint32(DeletionOffset.deleteTime) : undefined,
    key: frame.key(),
    value: frame.value(),
  }
}
