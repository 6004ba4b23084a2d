/**
 * Keys, as they lie in records and tables: the id of a collection in front of the document's own
 * key, as the frames have it that clients with collections get.
 *
 *   document       | collection id, LEB128: one byte 0 for the default collection | key bytes |
 *   system event   | 1 | 0: of a collection, 1: of a scope | its id, LEB128 |
 *
 * No client can name collection 1: what has such a key tells of a collection or a scope. There is
 * one such record for each of them, its newest: that it was made, or that it was dropped.
 */
import { leb128At } from '../../protocol/leb128.ts'
import { invariant } from '../errors.ts'

export const defaultCollection = 0
/** Of the collection that system events are in. */
export const systemCollection = 1

/** Bytes of the default collection's id. */
export const defaultPrefixLength = 1

/** The collection of a key that was checked when it came in. */
export function collectionOf(bytes: Uint8Array, keyStart: number): number {
  const first = bytes[keyStart]!
  // Nearly all ids are that short, and there is nothing to allocate.
  if (first < 0x80) return first
  const id = leb128At(bytes, keyStart, bytes.length)
  invariant(id >= 0, 'every key begins with the id of its collection')
  return id
}

/** A key of the default collection, in memory of its own. */
export function inDefaultCollection(key: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(defaultPrefixLength + key.length)
  bytes[0] = defaultCollection
  bytes.set(key, defaultPrefixLength)
  return bytes
}
