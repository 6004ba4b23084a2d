import { writeSeqno, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_SYSTEM_EVENT (0x5f): something happened to a collection or a scope at this seqno. Key and
 * value depend on event and version.
 *
 * ```
 * extras | seqno u64 | event u32 | version u8 |   key, value
 * ```
 */
export const systemEventExtrasLength = 13

export const SystemEventId = {
  collectionCreated: 0,
  collectionDropped: 1,
  scopeCreated: 3,
  scopeDropped: 4,
  collectionModified: 5,
} as const
export type SystemEventId = (typeof SystemEventId)[keyof typeof SystemEventId]

export interface SystemEvent extends DcpMessage {
  seqno: number
  /** A `SystemEventId`, or one that a newer server knows. */
  event: number
  version: number
  key: Uint8Array
  value: Uint8Array
}

export function systemEventLength(fields: SystemEvent): number {
  return headerLength + systemEventExtrasLength + fields.key.length + fields.value.length
}

export function encodeSystemEvent(target: Uint8Array, offset: number, fields: SystemEvent): number {
  const { key, value } = fields
  const extras = offset + headerLength
  writeSeqno(target, extras, fields.seqno)
  writeUint32(target, extras + 8, fields.event)
  target[extras + 12] = fields.version
  target.set(key, extras + systemEventExtrasLength)
  target.set(value, extras + systemEventExtrasLength + key.length)
  const opcode = Opcode.dcpSystemEvent
  const extrasLength = systemEventExtrasLength
  return writeMessageHeader(target, offset, opcode, fields, key.length, extrasLength, value.length)
}

/** Key and value are views of the frame. */
export function decodeSystemEvent(frame: Frame): SystemEvent | undefined {
  if (!isMessage(frame, Opcode.dcpSystemEvent, systemEventExtrasLength)) return undefined
  return {
    opaque: frame.opaque,
    vbid: frame.vbid,
    seqno: frame.extrasSeqno(0),
    event: frame.extrasUint32(8),
    version: frame.bytes[frame.extrasStart + 12]!,
    key: frame.key(),
    value: frame.value(),
  }
}
