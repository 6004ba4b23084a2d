import { readSeqno, readUint64, writeSeqno, writeUint64 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_GET_FAILOVER_LOG (0x54): a header with the vbucket. Its answer, like the answer to a stream
 * request and to GET_FAILOVER_LOG (0x96), has the log as its value, newest entry first:
 *
 * ```
 * | vbucket uuid u64 | seqno u64 | vbucket uuid u64 | seqno u64 | …
 * ```
 *
 * An entry says that the history under this uuid began after this seqno.
 */
export const getFailoverLogLength = headerLength
export const failoverEntryLength = 16

export interface FailoverEntry {
  vbuuid: bigint
  seqno: number
}

export function encodeGetFailoverLog(
  target: Uint8Array,
  offset: number,
  fields: DcpMessage,
): number {
  return writeMessageHeader(target, offset, Opcode.dcpGetFailoverLog, fields, 0, 0, 0)
}

export function decodeGetFailoverLog(frame: Frame): DcpMessage | undefined {
  if (!isMessage(frame, Opcode.dcpGetFailoverLog, 0)) return undefined
  if (frame.bodyLength > frame.framingLength) return undefined
  return { opaque: frame.opaque, vbid: frame.vbid }
}

export function encodeFailoverLog(entries: readonly Readonly<FailoverEntry>[]): Buffer {
  const value = Buffer.allocUnsafe(entries.length * failoverEntryLength)
  let at = 0
  for (const { vbuuid, seqno } of entries) {
    writeUint64(value, at, vbuuid)
    writeSeqno(value, at + 8, seqno)
    at += failoverEntryLength
  }
  return value
}

/** The log in the value of a response; a log has at least one entry. */
export function decodeFailoverLog(frame: Frame): FailoverEntry[] | undefined {
  const { bytes, valueStart, valueLength } = frame
  if (valueLength === 0 || valueLength % failoverEntryLength !== 0) return undefined
  const entries: FailoverEntry[] = []
  for (let at = valueStart; at < valueStart + valueLength; at += failoverEntryLength) {
    entries.push({ vbuuid: readUint64(bytes, at), seqno: readSeqno(bytes, at + 8) })
  }
  return entries
}
