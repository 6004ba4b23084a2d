import { writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_STREAM_END (0x55): nothing more comes for this vbucket, and why.
 *
 * ```
 * extras | reason u32 |
 * ```
 */
export const streamEndExtrasLength = 4
export const streamEndLength = headerLength + streamEndExtrasLength

export const StreamEndReason = {
  /** Everything up to the end seqno was sent. */
  ok: 0,
  /** The client closed the stream. */
  closed: 1,
  /** The vbucket is in a state this stream may not read. */
  stateChanged: 2,
  /** The connection is going away. */
  disconnected: 3,
  /** The client reads too slowly. */
  slow: 4,
  /** The backfill failed. */
  backfillFailed: 5,
  /** The vbucket rolls back; the client has to ask again and follow. */
  rollback: 6,
  /** Every collection of the filter is gone. */
  filterEmpty: 7,
  /** The user may no longer read this. */
  lostPrivileges: 8,
} as const
export type StreamEndReasonName = keyof typeof StreamEndReason
export type StreamEndReason = (typeof StreamEndReason)[StreamEndReasonName]

const names = Object.keys(StreamEndReason) as StreamEndReasonName[]

export function streamEndReasonName(reason: number): string {
  return names.find(name => StreamEndReason[name] === reason) ?? `reason ${reason}`
}

export interface StreamEnd extends DcpMessage {
  /** A `StreamEndReason`, or one that a newer server knows. */
  reason: number
}

export function encodeStreamEnd(target: Uint8Array, offset: number, fields: StreamEnd): number {
  writeUint32(target, offset + headerLength, fields.reason)
  const opcode = Opcode.dcpStreamEnd
  return writeMessageHeader(target, offset, opcode, fields, 0, streamEndExtrasLength, 0)
}

export function decodeStreamEnd(frame: Frame): StreamEnd | undefined {
  if (!isMessage(frame, Opcode.dcpStreamEnd, streamEndExtrasLength)) return undefined
  if (frame.keyLength > 0) return undefined
  return { opaque: frame.opaque, vbid: frame.vbid, reason: frame.extrasUint32(0) }
}
