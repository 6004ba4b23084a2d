import { writeSeqno, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength, writeHeader } from '../header.ts'
import { Magic } from '../magic.ts'
import { Opcode } from '../opcode.ts'
import { isMessage } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_EXPIRATION (0x59): a document was deleted because its time was up. Sent to clients that set
 * `enable_expiry_opcode`; others get a deletion.
 *
 * ```
 * extras | seqno u64 | revision seqno u64 | delete time u32 |   20 bytes
 * ```
 */
export const expirationExtrasLength = 20

/** Where the fields are, counted from the start of the extras. */
export const ExpirationOffset = { seqno: 0, revno: 8, deleteTime: 16 } as const

export interface Expiration extends DcpMessage {
  casHigh: number
  casLow: number
  datatype: number
  seqno: number
  revno: number
  /** Seconds since the epoch. */
  deleteTime: number
  key: Uint8Array
  value: Uint8Array
}

/** Positional, for code that writes frames in a hurry. */
export function writeExpirationExtras(
  target: Uint8Array,
  at: number,
  seqno: number,
  revno: number,
  deleteTime: number,
): void {
  writeSeqno(target, at, seqno)
  writeSeqno(target, at + 8, revno)
  writeUint32(target, at + 16, deleteTime)
}

export function expirationLength(keyLength: number, valueLength: number): number {
  return headerLength + expirationExtrasLength + keyLength + valueLength
}

export function encodeExpiration(target: Uint8Array, offset: number, fields: Expiration): number {
  const { key, value, opaque, vbid, datatype, casHigh, casLow } = fields
  const bodyLength = expirationExtrasLength + key.length + value.length
  const magic = Magic.request
  const opcode = Opcode.dcpExpiration
  writeHeader(
    target,
    offset,
    magic,
    opcode,
    key.length,
    expirationExtrasLength,
    datatype,
    vbid,
    bodyLength,
    opaque,
    casHigh,
    casLow,
  )
  const extras = offset + headerLength
  writeExpirationExtras(target, extras, fields.seqno, fields.revno, fields.deleteTime)
  target.set(key, extras + expirationExtrasLength)
  target.set(value, extras + expirationExtrasLength + key.length)
  return headerLength + bodyLength
}

/** Key and value are views of the frame. */
export function decodeExpiration(frame: Frame): Expiration | undefined {
  if (!isMessage(frame, Opcode.dcpExpiration, expirationExtrasLength)) return undefined
  if (frame.keyLength === 0) return undefined
  return {
    opaque: frame.opaque,
    vbid: frame.vbid,
    casHigh: frame.casHigh,
    casLow: frame.casLow,
    datatype: frame.datatype,
    seqno: frame.extrasSeqno(ExpirationOffset.seqno),
    revno: frame.extrasSeqno(ExpirationOffset.revno),
    deleteTime: frame.extrasUint32(ExpirationOffset.deleteTime),
    key: frame.key(),
    value: frame.value(),
  }
}
