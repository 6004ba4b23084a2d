import { writeSeqno } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * COMPACT_DB (0xb3): purges tombstones of the vbucket in the header, and answers when that is done.
 *
 * ```
 *        0               4
 *       +---------------+---------------+
 *     0 | purge tombstones deleted before this time, seconds since the epoch
 *       +---------------+---------------+
 *     8 | purge tombstones up to this seqno
 *       +---+---+-------+---------------+
 *    16 | d | 0 | file  | 0             |   d: drop all tombstones, whatever their age
 *       +---+---+-------+---------------+
 * ```
 *
 * `file` tells old servers which file to compact; it is not used here.
 */
export const compactDbExtrasLength = 24

export interface CompactDb {
  purgeBeforeTimeSeconds: number
  purgeBeforeSeqno: number
  dropDeletes: boolean
}

export function encodeCompactDb(fields: CompactDb): Buffer {
  const extras = Buffer.alloc(compactDbExtrasLength)
  writeSeqno(extras, 0, fields.purgeBeforeTimeSeconds)
  writeSeqno(extras, 8, fields.purgeBeforeSeqno)
  extras[16] = fields.dropDeletes ? 1 : 0
  return extras
}

export function decodeCompactDb(frame: Frame): CompactDb | undefined {
  if (frame.extrasLength !== compactDbExtrasLength) return undefined
  const dropDeletes = frame.bytes[frame.extrasStart + 16]!
  const reserved = frame.bytes[frame.extrasStart + 17]! !== 0 || frame.extrasUint32(20) !== 0
  if (dropDeletes > 1 || reserved) return undefined
  return {
    purgeBeforeTimeSeconds: frame.extrasSeqno(0),
    purgeBeforeSeqno: frame.extrasSeqno(8),
    dropDeletes: dropDeletes === 1,
  }
}
