import { writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_OSO_SNAPSHOT (0x65): begins and ends a snapshot whose documents come in no order of seqnos.
 *
 * ```
 * extras | flags u32 |
 * ```
 */
export const osoSnapshotExtrasLength = 4
export const osoSnapshotLength = headerLength + osoSnapshotExtrasLength

export const OsoSnapshotFlag = { start: 1, end: 2 } as const
export type OsoSnapshotFlag = (typeof OsoSnapshotFlag)[keyof typeof OsoSnapshotFlag]

export interface OsoSnapshot extends DcpMessage {
  flags: OsoSnapshotFlag
}

export function encodeOsoSnapshot(target: Uint8Array, offset: number, fields: OsoSnapshot): number {
  writeUint32(target, offset + headerLength, fields.flags)
  const opcode = Opcode.dcpOsoSnapshot
  return writeMessageHeader(target, offset, opcode, fields, 0, osoSnapshotExtrasLength, 0)
}

export function decodeOsoSnapshot(frame: Frame): OsoSnapshot | undefined {
  if (!isMessage(frame, Opcode.dcpOsoSnapshot, osoSnapshotExtrasLength)) return undefined
  if (frame.keyLength > 0) return undefined
  const flags = frame.extrasUint32(0)
  if (flags !== OsoSnapshotFlag.start && flags !== OsoSnapshotFlag.end) return undefined
  return { opaque: frame.opaque, vbid: frame.vbid, flags }
}
