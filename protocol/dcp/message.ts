import type { Frame } from '../frame.ts'
import { headerLength, writeHeader } from '../header.ts'
import { Magic } from '../magic.ts'

/** What every DCP message carries in its header. */
export interface DcpMessage {
  /** Of the stream request, in every message of its stream. */
  opaque: number
  vbid: number
}

/** True for a request of this opcode whose extras have this length. */
export function isMessage(frame: Frame, opcode: number, extrasLength: number): boolean {
  return frame.opcode === opcode && frame.isRequest && frame.extrasLength === extrasLength
}

/**
 * Writes the header of a message without CAS and datatype; returns the length of the whole message.
 */
export function writeMessageHeader(
  target: Uint8Array,
  offset: number,
  opcode: number,
  message: DcpMessage,
  keyLength: number,
  extrasLength: number,
  valueLength: number,
): number {
  const bodyLength = extrasLength + keyLength + valueLength
  const { opaque, vbid } = message
  const magic = Magic.request
  writeHeader(
    target,
    offset,
    magic,
    opcode,
    keyLength,
    extrasLength,
    0,
    vbid,
    bodyLength,
    opaque,
    0,
    0,
  )
  return headerLength + bodyLength
}

/** Runs an encoder into memory of its own, for tests and wherever speed does not matter. */
export function encodeMessage<Fields>(
  encode: (target: Uint8Array, offset: number, fields: Fields) => number,
  length: number,
  fields: Fields,
): Buffer {
  const target = Buffer.alloc(length)
  encode(target, 0, fields)
  return target
}
