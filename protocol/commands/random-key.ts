import { writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * GET_RANDOM_KEY (0xb6).
 *
 * ```
 * request   extras nothing, or | collection id u32 |, or | collection id u32 | xattrs u8 |
 * response  extras | flags u32 |   key, value
 * ```
 */
export interface RandomKeyRequest {
  collection: number | undefined
  /** Send the extended attributes too; `undefined` if the extras end before it. */
  includeXattrs: boolean | undefined
}

export function encodeRandomKeyRequest(request: RandomKeyRequest): Buffer {
  const { collection, includeXattrs } = request
  if (collection === undefined) return Buffer.alloc(0)
  const extras = Buffer.alloc(includeXattrs === undefined ? 4 : 5)
  writeUint32(extras, 0, collection)
  if (includeXattrs) extras[4] = 1
  return extras
}

export function decodeRandomKeyRequest(frame: Frame): RandomKeyRequest | undefined {
  const { extrasLength } = frame
  if (extrasLength === 0) return { collection: undefined, includeXattrs: undefined }
  if (extrasLength !== 4 && extrasLength !== 5) return undefined
  const flag = extrasLength === 5 ? frame.bytes[frame.extrasStart + 4] !== 0 : undefined
  return { collection: frame.extrasUint32(0), includeXattrs: flag }
}
