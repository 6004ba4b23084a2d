import { writeSeqno } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_SEQNO_ADVANCED (0x64): the vbucket went on to this seqno with changes this stream does not
 * carry. It may complete a snapshot.
 *
 * ```
 * extras | seqno u64 |
 * ```
 */
export const seqnoAdvancedExtrasLength = 8
export const seqnoAdvancedLength = headerLength + seqnoAdvancedExtrasLength

export interface SeqnoAdvanced extends DcpMessage {
  seqno: number
}

export function encodeSeqnoAdvanced(
  target: Uint8Array,
  offset: number,
  fields: SeqnoAdvanced,
): number {
  writeSeqno(target, offset + headerLength, fields.seqno)
  const opcode = Opcode.dcpSeqnoAdvanced
  return writeMessageHeader(target, offset, opcode, fields, 0, seqnoAdvancedExtrasLength, 0)
}

export function decodeSeqnoAdvanced(frame: Frame): SeqnoAdvanced | undefined {
  if (!isMessage(frame, Opcode.dcpSeqnoAdvanced, seqnoAdvancedExtrasLength)) return undefined
  if (frame.keyLength > 0) return undefined
  return { opaque: frame.opaque, vbid: frame.vbid, seqno: frame.extrasSeqno(0) }
}
