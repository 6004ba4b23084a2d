import { readUint32, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_ADD_STREAM (0x51): tells a consumer to ask its producer for a stream.
 *
 * ```
 * request   extras | flags u32, as in a stream request |
 * response  extras | opaque of the stream u32 |
 * ```
 */
export const addStreamExtrasLength = 4
export const addStreamLength = headerLength + addStreamExtrasLength

export interface AddStream extends DcpMessage {
  /** Bits of `StreamRequestFlag`. */
  flags: number
}

export function encodeAddStream(target: Uint8Array, offset: number, fields: AddStream): number {
  writeUint32(target, offset + headerLength, fields.flags)
  const opcode = Opcode.dcpAddStream
  return writeMessageHeader(target, offset, opcode, fields, 0, addStreamExtrasLength, 0)
}

export function decodeAddStream(frame: Frame): AddStream | undefined {
  if (!isMessage(frame, Opcode.dcpAddStream, addStreamExtrasLength)) return undefined
  if (frame.keyLength > 0 || frame.valueLength > 0) return undefined
  return { opaque: frame.opaque, vbid: frame.vbid, flags: frame.extrasUint32(0) }
}

/** The extras of the answer. */
export function encodeAddedStream(streamOpaque: number): Buffer {
  const extras = Buffer.alloc(addStreamExtrasLength)
  writeUint32(extras, 0, streamOpaque)
  return extras
}

export function decodeAddedStream(frame: Frame): number | undefined {
  if (frame.isRequest || frame.extrasLength !== addStreamExtrasLength) return undefined
  return readUint32(frame.bytes, frame.extrasStart)
}
