import { readSeqno, readUint16, writeSeqno, writeUint16, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { isVbucketState } from '../vbucket-state.ts'
import type { VbucketState } from '../vbucket-state.ts'

/**
 * GET_ALL_VB_SEQNOS (0x48): the high seqno of each vbucket on this node.
 *
 * ```
 * request   extras nothing, or | state u32 |, or | state u32 | collection id u32 |
 * response  value  | vbid u16 | seqno u64 | vbid u16 | seqno u64 | …
 * ```
 *
 * State 0 or none: all but the dead ones.
 */
export const vbSeqnoLength = 10

export interface AllVbSeqnosRequest {
  state: VbucketState | undefined
  collection: number | undefined
}

export interface VbSeqno {
  vbid: number
  seqno: number
}

export function encodeAllVbSeqnosRequest(request: AllVbSeqnosRequest): Buffer {
  const { state, collection } = request
  if (state === undefined && collection === undefined) return Buffer.alloc(0)
  const extras = Buffer.alloc(collection === undefined ? 4 : 8)
  writeUint32(extras, 0, state ?? 0)
  if (collection !== undefined) writeUint32(extras, 4, collection)
  return extras
}

export function decodeAllVbSeqnosRequest(frame: Frame): AllVbSeqnosRequest | undefined {
  const { extrasLength } = frame
  if (extrasLength === 0) return { state: undefined, collection: undefined }
  if (extrasLength !== 4 && extrasLength !== 8) return undefined
  const state = frame.extrasUint32(0)
  if (state !== 0 && !isVbucketState(state)) return undefined
  return {
    state: state === 0 ? undefined : state,
    collection: extrasLength === 8 ? frame.extrasUint32(4) : undefined,
  }
}

export function encodeVbSeqnos(seqnos: readonly Readonly<VbSeqno>[]): Buffer {
  const value = Buffer.alloc(seqnos.length * vbSeqnoLength)
  for (const [index, { vbid, seqno }] of seqnos.entries()) {
    writeUint16(value, index * vbSeqnoLength, vbid)
    writeSeqno(value, index * vbSeqnoLength + 2, seqno)
  }
  return value
}

export function decodeVbSeqnos(frame: Frame): VbSeqno[] | undefined {
  const { bytes, valueStart, valueLength } = frame
  if (valueLength % vbSeqnoLength !== 0) return undefined
  const seqnos: VbSeqno[] = []
  for (let at = valueStart; at < valueStart + valueLength; at += vbSeqnoLength) {
    seqnos.push({ vbid: readUint16(bytes, at), seqno: readSeqno(bytes, at + 2) })
  }
  return seqnos
}
