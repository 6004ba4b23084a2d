import { readUint16, writeUint16 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * HELLO (0x1f): the client's name and the features it asks for; the answer holds those granted.
 *
 * ```
 * request   key: the name, mostly JSON   value | feature u16 | feature u16 | …
 * response                               value | feature u16 | feature u16 | …
 * ```
 */
export function encodeFeatures(features: readonly number[]): Buffer {
  const value = Buffer.alloc(features.length * 2)
  for (const [index, feature] of features.entries()) writeUint16(value, index * 2, feature)
  return value
}

/** The codes as they were sent: unknown ones and repetitions included. */
export function decodeFeatures(frame: Frame): number[] | undefined {
  const { bytes, valueStart, valueLength } = frame
  if (valueLength % 2 !== 0) return undefined
  const features: number[] = []
  for (let at = valueStart; at < valueStart + valueLength; at += 2) {
    features.push(readUint16(bytes, at))
  }
  return features
}
