import { readUint32, readUint64, writeUint32, writeUint64 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * GET_COLLECTION_ID (0xbb) and GET_SCOPE_ID (0xbc): the id of a name.
 *
 * ```
 * request   value  scope.collection, or the name of a scope
 * response  extras | manifest uid u64 | id u32 |
 * ```
 */
export const collectionIdExtrasLength = 12

export interface FoundId {
  /** Of the manifest in which the name was looked up. */
  manifestUid: bigint
  id: number
}

export function encodeFoundId({ manifestUid, id }: FoundId): Buffer {
  const extras = Buffer.alloc(collectionIdExtrasLength)
  writeUint64(extras, 0, manifestUid)
  writeUint32(extras, 8, id)
  return extras
}

export function decodeFoundId(frame: Frame): FoundId | undefined {
  const { bytes, extrasStart, extrasLength } = frame
  if (extrasLength !== collectionIdExtrasLength) return undefined
  return { manifestUid: readUint64(bytes, extrasStart), id: readUint32(bytes, extrasStart + 8) }
}
