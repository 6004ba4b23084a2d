import { readSeqno, readUint32, writeSeqno, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_SNAPSHOT_MARKER (0x56): what follows, up to the end seqno, is consistent only as a whole.
 *
 * ```
 * v1    extras | start u64 | end u64 | flags u32 |                                       no value
 * v2.0  extras | 0x00 |  value | start | end | flags | max visible u64 | high completed u64 |
 * v2.2  extras | 0x02 |  value | as v2.0 | purge seqno u64 | high prepared u64 |
 * ```
 *
 * The first marker of a stream starts at the seqno the stream was asked from.
 */
export const MarkerVersion = { v1: '1.0', v20: '2.0', v22: '2.2' } as const
export type MarkerVersion = (typeof MarkerVersion)[keyof typeof MarkerVersion]

export const snapshotMarkerV1ExtrasLength = 20
export const snapshotMarkerV2ExtrasLength = 1
export const snapshotMarkerV20ValueLength = 36
export const snapshotMarkerV22ValueLength = 52
/** Enough for a marker of any version. */
export const snapshotMarkerLengthMax =
  headerLength + snapshotMarkerV2ExtrasLength + snapshotMarkerV22ValueLength

export const MarkerFlag = {
  memory: 0x01,
  disk: 0x02,
  checkpoint: 0x04,
  /** The consumer answers once it has the whole snapshot. */
  acknowledge: 0x08,
  history: 0x10,
  mayContainDuplicates: 0x20,
} as const
export type MarkerFlag = (typeof MarkerFlag)[keyof typeof MarkerFlag]

export interface SnapshotMarker extends DcpMessage {
  version: MarkerVersion
  startSeqno: number
  endSeqno: number
  /** Bits of `MarkerFlag`. */
  flags: number
  /** From v2.0 on; 0 in v1. */
  maxVisibleSeqno: number
  /** From v2.0 on; 0 in v1. */
  highCompletedSeqno: number
  /** v2.2 only; else 0. */
  purgeSeqno: number
  /** v2.2 only; else 0. */
  highPreparedSeqno: number
}

const versionByte = { [MarkerVersion.v20]: 0, [MarkerVersion.v22]: 2 } as const

export function snapshotMarkerLength(version: MarkerVersion): number {
  if (version === MarkerVersion.v1) return headerLength + snapshotMarkerV1ExtrasLength
  return headerLength + snapshotMarkerV2ExtrasLength + v2ValueLength(version)
}

function v2ValueLength(version: MarkerVersion): number {
  return version === MarkerVersion.v22 ? snapshotMarkerV22ValueLength : snapshotMarkerV20ValueLength
}

export function encodeSnapshotMarker(
  target: Uint8Array,
  offset: number,
  fields: SnapshotMarker,
): number {
  const { version } = fields
  const opcode = Opcode.dcpSnapshotMarker
  const extras = offset + headerLength
  if (version === MarkerVersion.v1) {
    writeBounds(target, extras, fields)
    const extrasLength = snapshotMarkerV1ExtrasLength
    return writeMessageHeader(target, offset, opcode, fields, 0, extrasLength, 0)
  }
  target[extras] = versionByte[version]
  const value = extras + snapshotMarkerV2ExtrasLength
  writeBounds(target, value, fields)
  writeSeqno(target, value + 20, fields.maxVisibleSeqno)
  writeSeqno(target, value + 28, fields.highCompletedSeqno)
  if (version === MarkerVersion.v22) {
    writeSeqno(target, value + 36, fields.purgeSeqno)
    writeSeqno(target, value + 44, fields.highPreparedSeqno)
  }
  const extrasLength = snapshotMarkerV2ExtrasLength
  const valueLength = v2ValueLength(version)
  return writeMessageHeader(target, offset, opcode, fields, 0, extrasLength, valueLength)
}

function writeBounds(target: Uint8Array, at: number, fields: SnapshotMarker): void {
  writeSeqno(target, at, fields.startSeqno)
  writeSeqno(target, at + 8, fields.endSeqno)
  writeUint32(target, at + 16, fields.flags)
}

export function decodeSnapshotMarker(frame: Frame): SnapshotMarker | undefined {
  if (frame.keyLength > 0) return undefined
  if (isMessage(frame, Opcode.dcpSnapshotMarker, snapshotMarkerV1ExtrasLength)) {
    if (frame.valueLength > 0) return undefined
    return readBounds(frame, MarkerVersion.v1, frame.extrasStart)
  }
  if (!isMessage(frame, Opcode.dcpSnapshotMarker, snapshotMarkerV2ExtrasLength)) return undefined

  const byte = frame.bytes[frame.extrasStart]
  const at = frame.valueStart
  if (byte === versionByte[MarkerVersion.v20]) {
    if (frame.valueLength !== snapshotMarkerV20ValueLength) return undefined
    return readV20(frame, MarkerVersion.v20, at)
  }
  if (byte !== versionByte[MarkerVersion.v22]) return undefined
  if (frame.valueLength !== snapshotMarkerV22ValueLength) return undefined
  const marker = readV20(frame, MarkerVersion.v22, at)
  marker.purgeSeqno = readSeqno(frame.bytes, at + 36)
  marker.highPreparedSeqno = readSeqno(frame.bytes, at + 44)
  return marker
}

function readV20(frame: Frame, version: MarkerVersion, at: number): SnapshotMarker {
  const marker = readBounds(frame, version, at)
  marker.maxVisibleSeqno = readSeqno(frame.bytes, at + 20)
  marker.highCompletedSeqno = readSeqno(frame.bytes, at + 28)
  return marker
}

function readBounds(frame: Frame, version: MarkerVersion, at: number): SnapshotMarker {
  return {
    opaque: frame.opaque,
    vbid: frame.vbid,
    version,
    startSeqno: readSeqno(frame.bytes, at),
    endSeqno: readSeqno(frame.bytes, at + 8),
    flags: readUint32(frame.bytes, at + 16),
    maxVisibleSeqno: 0,
    highCompletedSeqno: 0,
    purgeSeqno: 0,
    highPreparedSeqno: 0,
  }
}
