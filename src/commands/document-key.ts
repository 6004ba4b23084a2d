/**
 * The keys of documents as clients write and read them. Who has negotiated collections puts the id
 * of one in front of each key; all others are in the default collection and know nothing of ids.
 */
import { leb128At, leb128Length } from '../../protocol/leb128.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import {
  defaultCollection,
  defaultPrefixLength,
  inDefaultCollection,
} from '../storage/record-key.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { firstId } from '../vbucket/collections/manifest.ts'
import { refuseUnknown } from './collections.ts'
import type { Outcome } from './command.ts'
import type { Session } from './session.ts'

/** An id takes so many bytes at most; a key and the shortest id may not be longer than the others. */
const idBytesMax = 5

/** Brings the key of a request into the form that it is stored in, or refuses it. */
export function enterCollection(session: Session, frame: Frame, bucket: Bucket): Outcome {
  if (!session.features.collections) {
    frame.prefixKey(defaultCollection)
    if (bucket.collections.hasDefault) return Status.success
    return refuseUnknown(session, frame, Status.unknownCollection)
  }
  const { bytes, keyStart, valueStart } = frame
  const fault = keyFault(bytes, keyStart, valueStart, session.node.settings.keyBytesMax)
  if (fault !== '') {
    session.errorContext = fault
    return Status.invalidArguments
  }
  if (bucket.collections.has(bytes, keyStart)) return Status.success
  return refuseUnknown(session, frame, Status.unknownCollection)
}

/** What is wrong with a key that a client with collections sent; empty when nothing is. */
export function keyFault(
  bytes: Uint8Array,
  start: number,
  end: number,
  keyBytesMax: number,
): string {
  const id = leb128At(bytes, start, end)
  if (id < 0) return 'a key begins with the id of its collection, as LEB128 in its shortest form'
  const keyBytes = end - start - leb128Length(id)
  if (keyBytes === 0) return 'behind the id of the collection the key is empty'
  if (id > defaultCollection && id < firstId) return `no document is in collection ${id}`
  const most =
    id === defaultCollection ? keyBytesMax : keyBytesMax + defaultPrefixLength - idBytesMax
  return keyBytes > most ? `in collection ${id} keys have at most ${most} bytes` : ''
}

/** A key that came in a value, as it is stored; `undefined` when it cannot be one. */
export function storedKey(session: Session, key: Uint8Array): Buffer | undefined {
  if (!session.features.collections) return inDefaultCollection(key)
  if (keyFault(key, 0, key.length, session.node.settings.keyBytesMax) !== '') return undefined
  return Buffer.from(key)
}
