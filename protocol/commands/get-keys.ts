import { readUint16, writeUint16 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * GET_KEYS (0xb8): keys of a vbucket that are on disk, in order, from the one in the request on.
 *
 * ```
 * request   extras nothing, or | keys at most u32 |   key
 * response  value  | key length u16 | key |            and so on
 * ```
 */
const lengthBytes = 2

export function encodeKeyList(keys: readonly Uint8Array[]): Buffer {
  const total = keys.reduce((sum, key) => sum + lengthBytes + key.length, 0)
  const value = Buffer.alloc(total)
  let at = 0
  for (const key of keys) {
    writeUint16(value, at, key.length)
    value.set(key, at + lengthBytes)
    at += lengthBytes + key.length
  }
  return value
}

/** The keys are views of the frame; `undefined` if one is cut. */
export function decodeKeyList(frame: Frame): Buffer[] | undefined {
  const value = frame.value()
  const keys: Buffer[] = []
  for (let at = 0; at < value.length;) {
    if (at + lengthBytes > value.length) return undefined
    const start = at + lengthBytes
    at = start + readUint16(value, at)
    if (at > value.length) return undefined
    keys.push(value.subarray(start, at))
  }
  return keys
}
