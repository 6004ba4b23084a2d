import { writeSeqno, writeUint16, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength, writeHeader } from '../header.ts'
import { Magic } from '../magic.ts'
import { Opcode } from '../opcode.ts'
import { isMessage } from './message.ts'
import type { DcpMessage } from './message.ts'

/**
 * DCP_MUTATION (0x57): a document as it is after a change. The header carries its CAS and datatype.
 *
 * ```
 *        0               4
 *       +---------------+---------------+
 *     0 | seqno                         |
 *       +---------------+---------------+
 *     8 | revision seqno                |
 *       +---------------+---------------+
 *    16 | flags         | expiry        |
 *       +---------------+-------+-------+
 *    24 | lock time     | nmeta | nru |
 *       +---------------+-------+-----+
 *    31   key, value
 * ```
 *
 * `nmeta` belongs to a retired extension and is 0; `nru` is a hint for replicas' caches.
 */
export const mutationExtrasLength = 31

/** Where the fields are, counted from the start of the extras. */
export const MutationOffset = {
  seqno: 0,
  revno: 8,
  flags: 16,
  expiry: 20,
  lockTime: 24,
  nmeta: 28,
  nru: 30,
} as const

export interface Mutation extends DcpMessage {
  casHigh: number
  casLow: number
  datatype: number
  seqno: number
  revno: number
  flags: number
  /** Seconds since the epoch; 0: never. */
  expiry: number
  lockTime: number
  nru: number
  key: Uint8Array
  value: Uint8Array
}

/** Positional, for code that writes frames in a hurry. */
export function writeMutationExtras(
  target: Uint8Array,
  at: number,
  seqno: number,
  revno: number,
  flags: number,
  expiry: number,
  lockTime: number,
  nru: number,
): void {
  writeSeqno(target, at, seqno)
  writeSeqno(target, at + 8, revno)
  writeUint32(target, at + 16, flags)
  writeUint32(target, at + 20, expiry)
  writeUint32(target, at + 24, lockTime)
  writeUint16(target, at + 28, 0)
  target[at + 30] = nru
}

export function mutationLength(keyLength: number, valueLength: number): number {
  return headerLength + mutationExtrasLength + keyLength + valueLength
}

export function encodeMutation(target: Uint8Array, offset: number, fields: Mutation): number {
  const { key, value, opaque, vbid, datatype, casHigh, casLow } = fields
  const bodyLength = mutationExtrasLength + key.length + value.length
  const magic = Magic.request
  const opcode = Opcode.dcpMutation
  writeHeader(
    target,
    offset,
    magic,
    opcode,
    key.length,
    mutationExtrasLength,
    datatype,
    vbid,
    bodyLength,
    opaque,
    casHigh,
    casLow,
  )
  const extras = offset + headerLength
  const { seqno, revno, flags, expiry, lockTime, nru } = fields
  writeMutationExtras(target, extras, seqno, revno, flags, expiry, lockTime, nru)
  target.set(key, extras + mutationExtrasLength)
  target.set(value, extras + mutationExtrasLength + key.length)
  return headerLength + bodyLength
}

/** Key and value are views of the frame. */
export function decodeMutation(frame: Frame): Mutation | undefined {
  if (!isMessage(frame, Opcode.dcpMutation, mutationExtrasLength)) return undefined
  if (frame.keyLength === 0) return undefined
  return {
    opaque: frame.opaque,
    vbid: frame.vbid,
    casHigh: frame.casHigh,
    casLow: frame.casLow,
    datatype: frame.datatype,
    seqno: frame.extrasSeqno(MutationOffset.seqno),
    revno: frame.extrasSeqno(MutationOffset.revno),
    flags: frame.extrasUint32(MutationOffset.flags),
    expiry: frame.extrasUint32(MutationOffset.expiry),
    lockTime: frame.extrasUint32(MutationOffset.lockTime),
    nru: frame.bytes[frame.extrasStart + MutationOffset.nru]!,
    key: frame.key(),
    value: frame.value(),
  }
}
