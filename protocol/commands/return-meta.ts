import { readSeqno, writeSeqno, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * RETURN_META (0xb2): a mutation whose answer tells the metadata that the document has now.
 *
 * ```
 * request   extras | mutation u32: 1 set, 2 add, 3 delete | flags u32 | expiry u32 |   key, value
 * response  extras | flags u32 | expiry u32 | revision seqno u64 |   the CAS is in the header
 * ```
 */
export const ReturnMetaMutation = { set: 1, add: 2, delete: 3 } as const
export type ReturnMetaMutation = (typeof ReturnMetaMutation)[keyof typeof ReturnMetaMutation]

export const returnMetaExtrasLength = 12
const returnedMetaExtrasLength = 16

export interface ReturnMeta {
  mutation: ReturnMetaMutation
  flags: number
  expiry: number
}

export interface ReturnedMeta {
  flags: number
  /** Absolute; of a tombstone: when it was deleted. */
  expiry: number
  revno: number
}

const mutations: ReadonlySet<number> = new Set(Object.values(ReturnMetaMutation))

export function encodeReturnMeta(fields: ReturnMeta): Buffer {
  const extras = Buffer.alloc(returnMetaExtrasLength)
  writeUint32(extras, 0, fields.mutation)
  writeUint32(extras, 4, fields.flags)
  writeUint32(extras, 8, fields.expiry)
  return extras
}

export function decodeReturnMeta(frame: Frame): ReturnMeta | undefined {
  if (frame.extrasLength !== returnMetaExtrasLength) return undefined
  const mutation = frame.extrasUint32(0)
  if (!mutations.has(mutation)) return undefined
  const expiry = frame.extrasUint32(8)
  return { mutation: mutation as ReturnMetaMutation, flags: frame.extrasUint32(4), expiry }
}

export function encodeReturnedMeta(fields: ReturnedMeta): Buffer {
  const extras = Buffer.alloc(returnedMetaExtrasLength)
  writeUint32(extras, 0, fields.flags)
  writeUint32(extras, 4, fields.expiry)
  writeSeqno(extras, 8, fields.revno)
  return extras
}

export function decodeReturnedMeta(frame: Frame): ReturnedMeta | undefined {
  if (frame.extrasLength !== returnedMetaExtrasLength) return undefined
  return {
    flags: frame.extrasUint32(0),
    expiry: frame.extrasUint32(4),
    revno: readSeqno(frame.bytes, frame.extrasStart + 8),
  }
}
