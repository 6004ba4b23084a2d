import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'
import type { DcpMessage } from './message.ts'

/** DCP_NOOP (0x5c): asks the other side for a sign of life; the answer repeats opcode and opaque. A header only. */
export const dcpNoopLength = headerLength

export function encodeDcpNoop(target: Uint8Array, offset: number, fields: DcpMessage): number {
  return writeMessageHeader(target, offset, Opcode.dcpNoop, fields, 0, 0, 0)
}

export function decodeDcpNoop(frame: Frame): DcpMessage | undefined {
  if (!isMessage(frame, Opcode.dcpNoop, 0) || frame.bodyLength > frame.framingLength)
    return undefined
  return { opaque: frame.opaque, vbid: frame.vbid }
}
