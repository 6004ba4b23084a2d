import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'
import type { DcpMessage } from './message.ts'

/** DCP_CLOSE_STREAM (0x52): ends one stream; the others of the connection go on. A header only. */
export const closeStreamLength = headerLength

export function encodeCloseStream(target: Uint8Array, offset: number, fields: DcpMessage): number {
  return writeMessageHeader(target, offset, Opcode.dcpCloseStream, fields, 0, 0, 0)
}

export function decodeCloseStream(frame: Frame): DcpMessage | undefined {
  if (!isMessage(frame, Opcode.dcpCloseStream, 0) || frame.bodyLength > frame.framingLength)
    return undefined
  return { opaque: frame.opaque, vbid: frame.vbid }
}
