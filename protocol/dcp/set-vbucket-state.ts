import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isVbucketState } from '../vbucket-state.ts'
import type { VbucketState } from '../vbucket-state.ts'
import { isMessage, writeMessageHeader } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_SET_VBUCKET_STATE (0x5b): during a takeover, the producer tells the consumer which state its
 * vbucket has to take.
 *
 * ```
 * extras | state u8 |   value: mostly nothing; JSON of newer servers is not looked at
 * ```
 */
export const dcpSetVbucketStateExtrasLength = 1
export const dcpSetVbucketStateLength = headerLength + dcpSetVbucketStateExtrasLength

export interface DcpSetVbucketState extends DcpMessage {
  state: VbucketState
}

export function encodeDcpSetVbucketState(
  target: Uint8Array,
  offset: number,
  fields: DcpSetVbucketState,
): number {
  target[offset + headerLength] = fields.state
  const opcode = Opcode.dcpSetVbucketState
  return writeMessageHeader(target, offset, opcode, fields, 0, dcpSetVbucketStateExtrasLength, 0)
}

export function decodeDcpSetVbucketState(frame: Frame): DcpSetVbucketState | undefined {
  const opcode = Opcode.dcpSetVbucketState
  if (!isMessage(frame, opcode, dcpSetVbucketStateExtrasLength)) return undefined
  if (frame.keyLength > 0) return undefined
  const state = frame.bytes[frame.extrasStart]!
  return isVbucketState(state) ? { opaque: frame.opaque, vbid: frame.vbid, state } : undefined
}
