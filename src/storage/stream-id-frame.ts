/**
 * Frames of streams that share a vbucket on one connection carry the id of theirs in a framing
 * extra:
 *
 *   | header with magic 0x08 | 0x22 | stream id u16 | extras | key | value |
 *
 * 0x22: framing extra 2, two bytes long.
 */
import { readUint16, readUint32, writeUint16, writeUint32 } from '../../protocol/bytes.ts'
import { FramingId } from '../../protocol/framing.ts'
import { headerLength } from '../../protocol/header.ts'
import { Magic } from '../../protocol/magic.ts'

export const streamIdFramingLength = 3
const streamIdBytes = 2

/**
 * Puts the id into a frame that has been written without: what is behind its header moves on.
 * Returns the length of the frame with it.
 */
export function writeStreamIdHeader(
  target: Uint8Array,
  offset: number,
  frameBytes: number,
  streamId: number,
): number {
  const body = offset + headerLength
  target.copyWithin(body + streamIdFramingLength, body, offset + frameBytes)
  // The other magic has a byte for the framing extras where the key's length began.
  const keyLength = readUint16(target, offset + 2)
  target[offset] = Magic.altRequest
  target[offset + 2] = streamIdFramingLength
  target[offset + 3] = keyLength
  const bodyLength = readUint32(target, offset + 8)
  writeUint32(target, offset + 8, bodyLength + streamIdFramingLength)
  target[body] = (FramingId.streamId << 4) | streamIdBytes
  writeUint16(target, body + 1, streamId)
  return frameBytes + streamIdFramingLength
}

/** Bytes between the header of a frame at `offset` and its extras. */
export function framingLengthAt(bytes: Uint8Array, offset: number): number {
  return bytes[offset] === Magic.altRequest ? bytes[offset + 2]! : 0
}
