import { readUint16, writeUint16 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * GET_ERROR_MAP (0xfe): the highest version of the map the client can read; the answer is JSON of
 * that version or a lower one.
 *
 * ```
 * value | version u16 |
 * ```
 */
const versionLength = 2

export function encodeErrorMapVersion(version: number): Buffer {
  const value = Buffer.alloc(versionLength)
  writeUint16(value, 0, version)
  return value
}

export function decodeErrorMapVersion(frame: Frame): number | undefined {
  if (frame.valueLength !== versionLength) return undefined
  return readUint16(frame.bytes, frame.valueStart)
}
