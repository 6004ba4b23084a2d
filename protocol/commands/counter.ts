import { readUint64, writeUint32, writeUint64 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * INCREMENT, DECREMENT and their quiet forms. The stored value is decimal text; on the wire the
 * answer is a number.
 *
 * ```
 * request   extras | delta u64 | initial u64 | expiry u32 |   key
 * response  value  | new number u64 |
 * ```
 */
export const counterExtrasLength = 20
export const counterValueLength = 8
/** This expiry says: if there is no such key, do not create it. */
export const counterExpiryNoCreate = 0xffffffff

export interface CounterExtras {
  delta: bigint
  initial: bigint
  expiry: number
}

export function encodeCounterExtras(fields: CounterExtras): Buffer {
  const extras = Buffer.alloc(counterExtrasLength)
  writeUint64(extras, 0, fields.delta)
  writeUint64(extras, 8, fields.initial)
  writeUint32(extras, 16, fields.expiry)
  return extras
}

export function decodeCounterExtras(frame: Frame): CounterExtras | undefined {
  if (frame.extrasLength !== counterExtrasLength) return undefined
  return {
    delta: readUint64(frame.bytes, frame.extrasStart),
    initial: readUint64(frame.bytes, frame.extrasStart + 8),
    expiry: frame.extrasUint32(16),
  }
}

export function encodeCounterValue(value: bigint): Buffer {
  const bytes = Buffer.alloc(counterValueLength)
  writeUint64(bytes, 0, value)
  return bytes
}

export function decodeCounterValue(frame: Frame): bigint | undefined {
  if (frame.valueLength !== counterValueLength) return undefined
  return readUint64(frame.bytes, frame.valueStart)
}
