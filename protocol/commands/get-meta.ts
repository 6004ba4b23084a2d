import { readSeqno, writeSeqno, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * GET_META and GETQ_META: what is known about a key, tombstone or not. The CAS is in the header.
 *
 * ```
 * request   extras nothing, or | version u8: 1 or 2 |   key
 * response  extras | deleted u32 | flags u32 | expiry u32 | revision seqno u64 |   version 1
 *                  | … | datatype u8 |                                            version 2
 * ```
 */
export const GetMetaVersion = { v1: 1, v2: 2 } as const
export type GetMetaVersion = (typeof GetMetaVersion)[keyof typeof GetMetaVersion]

export const metaV1ExtrasLength = 20
export const metaV2ExtrasLength = 21

export interface Meta {
  isDeleted: boolean
  flags: number
  /** Of a tombstone: when it was deleted. */
  expiry: number
  revno: number
  /** `undefined` in version 1. */
  datatype: number | undefined
}

/** The version a request asks for; the first, if it does not say. */
export function decodeGetMetaVersion(frame: Frame): GetMetaVersion | undefined {
  if (frame.extrasLength === 0) return GetMetaVersion.v1
  if (frame.extrasLength !== 1) return undefined
  const version = frame.bytes[frame.extrasStart]
  return version === GetMetaVersion.v1 || version === GetMetaVersion.v2 ? version : undefined
}

export function encodeGetMetaVersion(version: GetMetaVersion): Buffer {
  return Buffer.of(version)
}

export function encodeMeta(meta: Meta): Buffer {
  const { datatype } = meta
  const extras = Buffer.alloc(datatype === undefined ? metaV1ExtrasLength : metaV2ExtrasLength)
  writeUint32(extras, 0, meta.isDeleted ? 1 : 0)
  writeUint32(extras, 4, meta.flags)
  writeUint32(extras, 8, meta.expiry)
  writeSeqno(extras, 12, meta.revno)
  if (datatype !== undefined) extras[20] = datatype
  return extras
}

export function decodeMeta(frame: Frame): Meta | undefined {
  const { bytes, extrasStart, extrasLength } = frame
  if (extrasLength !== metaV1ExtrasLength && extrasLength !== metaV2ExtrasLength) return undefined
  return {
    isDeleted: (frame.extrasUint32(0) & 1) === 1,
    flags: frame.extrasUint32(4),
    expiry: frame.extrasUint32(8),
    revno: readSeqno(bytes, extrasStart + 12),
    datatype: extrasLength === metaV2ExtrasLength ? bytes[extrasStart + 20] : undefined,
  }
}
