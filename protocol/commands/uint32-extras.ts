import { writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * Requests whose extras are one number:
 *
 * | command | number | may be absent |
 * |---|---|---|
 * | TOUCH, GAT, GATQ, GATK, GATKQ | expiry | no |
 * | GET_LOCKED | seconds to lock | yes |
 * | FLUSH, FLUSHQ | seconds to wait | yes |
 * | VERBOSITY | level | no |
 */
export const uint32ExtrasLength = 4

export function encodeUint32Extras(value: number): Buffer {
  const extras = Buffer.alloc(uint32ExtrasLength)
  writeUint32(extras, 0, value)
  return extras
}

export function decodeUint32Extras(frame: Frame): number | undefined {
  return frame.extrasLength === uint32ExtrasLength ? frame.extrasUint32(0) : undefined
}

/** For extras that may be absent: then their value is 0. */
export function decodeOptionalUint32Extras(frame: Frame): number | undefined {
  return frame.extrasLength === 0 ? 0 : decodeUint32Extras(frame)
}
