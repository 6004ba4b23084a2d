import { readUint32, writeSeqno, writeUint16, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * SET_WITH_META, ADD_WITH_META, DEL_WITH_META and their quiet forms: a mutation that brings its CAS
 * and revision along, from another cluster.
 *
 * ```
 *        0               4
 *       +---------------+---------------+
 *     0 | flags         | expiry; of a deletion: its time
 *       +---------------+---------------+
 *     8 | revision seqno                |
 *       +---------------+---------------+
 *    16 | cas the document shall have   |
 *       +---------------+-------+-------+
 *    24 | options       | nmeta |          both optional: 24, 26 (nmeta), 28 or 30 bytes
 *       +---------------+-------+
 * ```
 *
 * `nmeta` bytes at the end of the value are retired metadata, not part of the document.
 */
export const withMetaExtrasLength = 24
const nmetaLength = 2
const optionsLength = 4

export const WithMetaOption = {
  /** Skip conflict resolution and accept any vbucket state. */
  force: 0x01,
  /** Accept although the bucket resolves conflicts by time. */
  forceAccept: 0x02,
  /** The server chooses the CAS; only together with `skipConflictResolution`. */
  regenerateCas: 0x04,
  skipConflictResolution: 0x08,
  /** The deletion is an expiration. */
  isExpiration: 0x10,
} as const
export type WithMetaOption = (typeof WithMetaOption)[keyof typeof WithMetaOption]

export interface WithMeta {
  flags: number
  /** Of a deletion: when it was deleted. */
  expiry: number
  revno: number
  casHigh: number
  casLow: number
  /** Bits of `WithMetaOption`; `undefined` if the extras end before them. */
  options: number | undefined
  /** How many bytes at the end of the value are no part of it; `undefined` if not told. */
  nmeta: number | undefined
}

export function encodeWithMeta(fields: WithMeta): Buffer {
  const extras = Buffer.alloc(withMetaLength(fields))
  writeWithMeta(extras, 0, fields)
  return extras
}

export function withMetaLength({ options, nmeta }: Pick<WithMeta, 'options' | 'nmeta'>): number {
  return (
    withMetaExtrasLength +
    (options === undefined ? 0 : optionsLength) +
    (nmeta === undefined ? 0 : nmetaLength)
  )
}

/** Writes the extras at `at`, where there is room for `withMetaLength`. */
export function writeWithMeta(target: Uint8Array, at: number, fields: WithMeta): void {
  const { options, nmeta } = fields
  writeUint32(target, at, fields.flags)
  writeUint32(target, at + 4, fields.expiry)
  writeSeqno(target, at + 8, fields.revno)
  writeUint32(target, at + 16, fields.casHigh)
  writeUint32(target, at + 20, fields.casLow)
  const nmetaAt = at + withMetaExtrasLength + (options === undefined ? 0 : optionsLength)
  if (options !== undefined) writeUint32(target, at + withMetaExtrasLength, options)
  if (nmeta !== undefined) writeUint16(target, nmetaAt, nmeta)
}

export function decodeWithMeta(frame: Frame): WithMeta | undefined {
  const { bytes, extrasStart, extrasLength, valueLength } = frame
  const optional = extrasLength - withMetaExtrasLength
  const hasOptions = optional === optionsLength || optional === optionsLength + nmetaLength
  const hasNmeta = optional === nmetaLength || optional === optionsLength + nmetaLength
  if (optional !== 0 && !hasOptions && !hasNmeta) return undefined
  const nmeta = hasNmeta ? frame.extrasUint16(extrasLength - nmetaLength) : undefined
  if (nmeta !== undefined && nmeta > valueLength) return undefined
  return {
    flags: frame.extrasUint32(0),
    expiry: frame.extrasUint32(4),
    revno: frame.extrasSeqno(8),
    casHigh: readUint32(bytes, extrasStart + 16),
    casLow: readUint32(bytes, extrasStart + 20),
    options: hasOptions ? frame.extrasUint32(withMetaExtrasLength) : undefined,
    nmeta,
  }
}
