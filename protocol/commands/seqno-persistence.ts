import { writeSeqno } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * SEQNO_PERSISTENCE (0xb7): answered once this seqno of the vbucket in the header is on disk.
 *
 * ```
 * extras | seqno u64 |
 * ```
 */
export const seqnoPersistenceExtrasLength = 8

export function encodeSeqnoPersistence(seqno: number): Buffer {
  const extras = Buffer.alloc(seqnoPersistenceExtrasLength)
  writeSeqno(extras, 0, seqno)
  return extras
}

export function decodeSeqnoPersistence(frame: Frame): number | undefined {
  return frame.extrasLength === seqnoPersistenceExtrasLength ? frame.extrasSeqno(0) : undefined
}
