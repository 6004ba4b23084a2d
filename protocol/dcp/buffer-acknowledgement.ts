import { writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_BUFFER_ACK (0x5d): the client has taken this many bytes more out of its buffer, headers
 * included. It is never answered.
 *
 * ```
 * extras | bytes u32 |
 * ```
 */
export const bufferAcknowledgementExtrasLength = 4
export const bufferAcknowledgementLength = headerLength + bufferAcknowledgementExtrasLength

export interface BufferAcknowledgement extends DcpMessage {
  bytes: number
}

export function encodeBufferAcknowledgement(
  target: Uint8Array,
  offset: number,
  fields: BufferAcknowledgement,
): number {
  writeUint32(target, offset + headerLength, fields.bytes)
  const opcode = Opcode.dcpBufferAcknowledgement
  const extrasLength = bufferAcknowledgementExtrasLength
  return writeMessageHeader(target, offset, opcode, fields, 0, extrasLength, 0)
}

export function decodeBufferAcknowledgement(frame: Frame): BufferAcknowledgement | undefined {
  const opcode = Opcode.dcpBufferAcknowledgement
  if (!isMessage(frame, opcode, bufferAcknowledgementExtrasLength)) return undefined
  if (frame.keyLength > 0 || frame.valueLength > 0) return undefined
  return { opaque: frame.opaque, vbid: frame.vbid, bytes: frame.extrasUint32(0) }
}
