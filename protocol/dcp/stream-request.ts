import { readSeqno, readUint64, writeSeqno, writeUint32, writeUint64 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_STREAM_REQ (0x53): asks for the changes of one vbucket after `startSeqno`.
 *
 * ```
 *        0               4
 *       +---------------+---------------+
 *     0 | flags         | reserved      |
 *       +---------------+---------------+
 *     8 | start seqno: what the client has already
 *       +---------------+---------------+
 *    16 | end seqno; all ones: no end   |
 *       +---------------+---------------+
 *    24 | vbucket uuid of its history   |
 *       +---------------+---------------+
 *    32 | snapshot start seqno          |
 *       +---------------+---------------+
 *    40 | snapshot end seqno            |
 *       +---------------+---------------+
 *    48   no key; value: nothing, or the JSON of `stream-request-value.ts`
 * ```
 *
 * The answer's value is the failover log on success and the seqno to go back to on rollback.
 */
export const streamRequestExtrasLength = 48

export const StreamRequestFlag = {
  /** Hand the vbucket over to the client at the end. */
  takeover: 0x01,
  diskOnly: 0x02,
  /** The end is the high seqno at the time of the request. */
  toLatest: 0x04,
  /** Retired: DCP_OPEN has a flag for it. */
  noValue: 0x08,
  activeOnly: 0x10,
  /** Compare the uuid also when the start is 0. */
  strictVbuuid: 0x20,
  /** Start at the high seqno; the client has no history. */
  fromLatest: 0x40,
  /** No rollback merely because tombstones after the start were purged. */
  ignorePurgedTombstones: 0x80,
  cacheTransfer: 0x100,
} as const
export type StreamRequestFlag = (typeof StreamRequestFlag)[keyof typeof StreamRequestFlag]

export interface StreamRequest extends DcpMessage {
  flags: number
  startSeqno: number
  endSeqno: number
  vbuuid: bigint
  snapshotStartSeqno: number
  snapshotEndSeqno: number
  /** JSON text; mostly empty. */
  value: string
}

export function streamRequestLength(fields: StreamRequest): number {
  return headerLength + streamRequestExtrasLength + Buffer.byteLength(fields.value)
}

export function encodeStreamRequest(
  target: Uint8Array,
  offset: number,
  fields: StreamRequest,
): number {
  const value = Buffer.from(fields.value)
  const extras = offset + headerLength
  writeUint32(target, extras, fields.flags)
  writeUint32(target, extras + 4, 0)
  writeSeqno(target, extras + 8, fields.startSeqno)
  writeSeqno(target, extras + 16, fields.endSeqno)
  writeUint64(target, extras + 24, fields.vbuuid)
  writeSeqno(target, extras + 32, fields.snapshotStartSeqno)
  writeSeqno(target, extras + 40, fields.snapshotEndSeqno)
  target.set(value, extras + streamRequestExtrasLength)
  const opcode = Opcode.dcpStreamRequest
  const extrasLength = streamRequestExtrasLength
  return writeMessageHeader(target, offset, opcode, fields, 0, extrasLength, value.length)
}

export function decodeStreamRequest(frame: Frame): StreamRequest | undefined {
  if (!isMessage(frame, Opcode.dcpStreamRequest, streamRequestExtrasLength)) return undefined
  if (frame.keyLength > 0) return undefined
  return {
    opaque: frame.opaque,
    vbid: frame.vbid,
    flags: frame.extrasUint32(0),
    startSeqno: frame.extrasSeqno(8),
    endSeqno: frame.extrasSeqno(16),
    vbuuid: readUint64(frame.bytes, frame.extrasStart + 24),
    snapshotStartSeqno: frame.extrasSeqno(32),
    snapshotEndSeqno: frame.extrasSeqno(40),
    value: frame.value().toString(),
  }
}

/** The value of an answer with status rollback. */
export function encodeRollbackSeqno(seqno: number): Buffer {
  const value = Buffer.alloc(8)
  writeSeqno(value, 0, seqno)
  return value
}

export function decodeRollbackSeqno(frame: Frame): number | undefined {
  return frame.valueLength === 8 ? readSeqno(frame.bytes, frame.valueStart) : undefined
}
