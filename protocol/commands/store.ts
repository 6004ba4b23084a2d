import { readSeqno, readUint64, writeSeqno, writeUint32, writeUint64 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * SET, ADD, REPLACE and their quiet forms.
 *
 * ```
 * request   extras | flags u32 | expiry u32 |   key, value
 * response  no extras; with HELLO mutationSeqno: | vbucket uuid u64 | seqno u64 |
 * ```
 *
 * APPEND and PREPEND have no extras. The answers to GET, GAT, GET_LOCKED and GET_REPLICA carry the
 * flags of the document in four bytes of extras.
 */
export const storeExtrasLength = 8
export const mutationTokenLength = 16
export const flagsExtrasLength = 4

export interface StoreExtras {
  /** The client's own; stored and returned as they are. */
  flags: number
  /** 0: never; up to 30 days: relative to now; else seconds since the epoch. */
  expiry: number
}

export function encodeStoreExtras(fields: StoreExtras): Buffer {
  const extras = Buffer.alloc(storeExtrasLength)
  writeUint32(extras, 0, fields.flags)
  writeUint32(extras, 4, fields.expiry)
  return extras
}

export function decodeStoreExtras(frame: Frame): StoreExtras | undefined {
  if (frame.extrasLength !== storeExtrasLength) return undefined
  return { flags: frame.extrasUint32(0), expiry: frame.extrasUint32(4) }
}

export function encodeFlagsExtras(flags: number): Buffer {
  const extras = Buffer.alloc(flagsExtrasLength)
  writeUint32(extras, 0, flags)
  return extras
}

export function decodeFlagsExtras(frame: Frame): number | undefined {
  return frame.extrasLength === flagsExtrasLength ? frame.extrasUint32(0) : undefined
}

/** Names one mutation: with it a client can wait for persistence, or read its own writes. */
export interface MutationToken {
  vbuuid: bigint
  seqno: number
}

export function writeMutationToken(
  target: Uint8Array,
  at: number,
  vbuuid: bigint,
  seqno: number,
): void {
  writeUint64(target, at, vbuuid)
  writeSeqno(target, at + 8, seqno)
}

export function encodeMutationToken(token: MutationToken): Buffer {
  const extras = Buffer.alloc(mutationTokenLength)
  writeMutationToken(extras, 0, token.vbuuid, token.seqno)
  return extras
}

export function decodeMutationToken(frame: Frame): MutationToken | undefined {
  if (frame.extrasLength !== mutationTokenLength) return undefined
  const at = frame.extrasStart
  return { vbuuid: readUint64(frame.bytes, at), seqno: readSeqno(frame.bytes, at + 8) }
}
