/**
 * What is stored of each collection and scope of a vbucket, besides the default scope and as long
 * as nobody has dropped it the default collection: what its system events have brought, and how
 * much it holds. It is written in the transaction of the records that it speaks of.
 *
 *   collections   | vbid u16 | 0: collection, 1: scope | id u32 |  → JSON
 */
import type { EventSubject } from './system-event-record.ts'

export interface CollectionKey {
  vbid: number
  subject: EventSubject
  id: number
}

export interface CollectionRecord {
  /** Of the scope that it is in. */
  scopeId: number
  /** Documents that live; 0 once it is dropped. */
  items: number
  /** Of their keys and values, as in vbucket-record.ts. */
  bytes: number
  /** Of the newest change of a document in it. */
  highSeqno: number
  /** Of the event that dropped it: what it had before is being removed. */
  droppedSeqno?: number
  /** Nothing is left of it. Only the default collection is remembered as long as that. */
  isErased?: boolean
}

export interface StoredCollection extends CollectionRecord {
  subject: EventSubject
  id: number
}

/** See keys.ts. */
export const collectionKeyEncoder = {
  writeKey({ vbid, subject, id }: CollectionKey, target: Uint8Array, position: number): number {
    const bytes = [
      vbid >>> 8,
      vbid,
      subject === 'scope' ? 1 : 0,
      id >>> 24,
      id >>> 16,
      id >>> 8,
      id,
    ]
    for (const [index, byte] of bytes.entries()) target[position + index] = byte
    return position + bytes.length
  },
  readKey(source: Uint8Array, start: number): CollectionKey {
    const at = (index: number) => source[start + index]!
    const id = ((at(3) << 24) | (at(4) << 16) | (at(5) << 8) | at(6)) >>> 0
    return { vbid: (at(0) << 8) | at(1), subject: at(2) === 1 ? 'scope' : 'collection', id }
  },
}

export function encodeCollectionRecord(record: CollectionRecord): Buffer {
  return Buffer.from(JSON.stringify(record))
}

export function decodeCollectionRecord(bytes: Buffer): CollectionRecord {
  return JSON.parse(bytes.toString()) as CollectionRecord
}

/** The keys from the first to behind the last one of a vbucket. */
export function collectionsOf(vbid: number): { start: CollectionKey; end: CollectionKey } {
  return {
    start: { vbid, subject: 'collection', id: 0 },
    end: { vbid: vbid + 1, subject: 'collection', id: 0 },
  }
}
