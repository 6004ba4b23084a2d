import {
  readSeqno,
  readUint16,
  readUint64,
  writeSeqno,
  writeUint16,
  writeUint64,
} from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * OBSERVE_SEQNO (0x91): how far a vbucket has come in memory and on disk, seen from one history.
 *
 * ```
 * request   value | vbucket uuid u64 |
 * response  value | format u8 | vbid u16 | vbucket uuid u64 | persisted seqno u64 | seqno u64 |
 *                 | old vbucket uuid u64 | last seqno of that history u64 |      format 1 only
 * ```
 *
 * Format 1 answers a uuid that a failover has ended.
 */
export const observeSeqnoRequestLength = 8
const unchangedLength = 27
const failedOverLength = 43

export interface ObservedSeqno {
  vbid: number
  vbuuid: bigint
  persistedSeqno: number
  currentSeqno: number
  /** After a failover: the history that was asked about, and where it ended. */
  failover: { oldVbuuid: bigint; lastSeqno: number } | undefined
}

export function encodeObserveSeqnoRequest(vbuuid: bigint): Buffer {
  const value = Buffer.alloc(observeSeqnoRequestLength)
  writeUint64(value, 0, vbuuid)
  return value
}

export function decodeObserveSeqnoRequest(frame: Frame): bigint | undefined {
  if (frame.valueLength !== observeSeqnoRequestLength) return undefined
  return readUint64(frame.bytes, frame.valueStart)
}

export function encodeObserveSeqnoResponse(observed: ObservedSeqno): Buffer {
  const { failover } = observed
  const value = Buffer.alloc(failover ? failedOverLength : unchangedLength)
  value[0] = failover ? 1 : 0
  writeUint16(value, 1, observed.vbid)
  writeUint64(value, 3, observed.vbuuid)
  writeSeqno(value, 11, observed.persistedSeqno)
  writeSeqno(value, 19, observed.currentSeqno)
  if (failover) {
    writeUint64(value, 27, failover.oldVbuuid)
    writeSeqno(value, 35, failover.lastSeqno)
  }
  return value
}

export function decodeObserveSeqnoResponse(frame: Frame): ObservedSeqno | undefined {
  const { bytes, valueStart: at, valueLength } = frame
  if (valueLength === 0) return undefined
  const format = bytes[at]!
  if (format > 1) return undefined
  if (valueLength !== (format === 1 ? failedOverLength : unchangedLength)) return undefined
  return {
    vbid: readUint16(bytes, at + 1),
    vbuuid: readUint64(bytes, at + 3),
    persistedSeqno: readSeqno(bytes, at + 11),
    currentSeqno: readSeqno(bytes, at + 19),
    failover:
      format === 1
        ? { oldVbuuid: readUint64(bytes, at + 27), lastSeqno: readSeqno(bytes, at + 35) }
        : undefined,
  }
}
