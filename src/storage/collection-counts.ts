/**
 * Keeps count, inside a write transaction, of what collections hold: for the default collection in
 * the vbucket's own record, for the others in the table `collections`. System events are no
 * documents: they make and end what is counted.
 */
import {
  decodeCollectionRecord,
  encodeCollectionRecord,
  type CollectionKey,
  type CollectionRecord,
} from './collection-record.ts'
import type { DocumentEntry } from './document-entry.ts'
import type { Environment } from './environment.ts'
import type { Held } from './held.ts'
import { collectionOf, defaultCollection, systemCollection } from './record-key.ts'
import type { RecordView } from './record.ts'
import {
  eventManifestUid,
  eventScopeId,
  eventSubject,
  eventSubjectId,
  type EventSubject,
} from './system-event-record.ts'
import type { VbucketRecord } from './vbucket-record.ts'

interface Counted {
  readonly key: CollectionKey
  readonly record: CollectionRecord
}

export class CollectionCounts {
  readonly #environment: Environment
  readonly #counted = new Map<number, Counted>()

  constructor(environment: Environment) {
    this.#environment = environment
  }

  /** Call at the start of a transaction, and when what was counted is gone. */
  clear(): void {
    this.#counted.clear()
  }

  /** A record is stored, as the newest of its key. */
  stored(record: RecordView, vbucket: VbucketRecord): void {
    const { bytes, keyStart, keyLength, valueLength, vbid, seqno, isDeletion } = record
    const collection = collectionOf(bytes, keyStart)
    if (collection === defaultCollection) {
      if (!isDeletion) add(vbucket, keyLength + valueLength)
      vbucket.defaultSeqno = seqno
    } else if (collection === systemCollection) this.#event(record, vbucket)
    else {
      const counted = this.#of(vbid, 'collection', collection)
      if (!isDeletion) add(counted, keyLength + valueLength)
      counted.highSeqno = seqno
    }
  }

  /**
   * A document that lived is not the newest of its key any more. That may come to light only when
   * its collection has been dropped, and what that held is counted no more.
   */
  replaced(old: DocumentEntry, vbid: number, vbucket: VbucketRecord): void {
    const { collection, keyLength, valueLength } = old
    if (collection === systemCollection) return
    if (collection === defaultCollection) {
      if (!vbucket.isWithoutDefault) subtract(vbucket, keyLength + valueLength)
      return
    }
    const counted = this.#of(vbid, 'collection', collection)
    if (counted.droppedSeqno === undefined) subtract(counted, keyLength + valueLength)
  }

  /** Writes what has changed. */
  finish(): void {
    for (const { key, record } of this.#counted.values()) {
      this.#environment.collections.putSync(key, encodeCollectionRecord(record))
    }
    this.#counted.clear()
  }

  #event(record: RecordView, vbucket: VbucketRecord): void {
    const { vbid, seqno, isDeletion } = record
    const subject = eventSubject(record)
    const id = eventSubjectId(record)
    vbucket.manifestUid = eventManifestUid(record).toString(16)
    if (!isDeletion) {
      this.#of(vbid, subject, id).scopeId = eventScopeId(record)
      return
    }
    if (subject === 'scope') {
      this.#counted.delete(nameOf(vbid, subject, id))
      this.#environment.collections.removeSync({ vbid, subject, id })
      return
    }
    const counted = this.#of(vbid, subject, id)
    counted.items = 0
    counted.bytes = 0
    counted.droppedSeqno = seqno
    if (id !== defaultCollection) return
    vbucket.items = 0
    vbucket.bytes = 0
    vbucket.isWithoutDefault = true
  }

  /** As this transaction has it, made if it was not there. */
  #of(vbid: number, subject: EventSubject, id: number): CollectionRecord {
    const name = nameOf(vbid, subject, id)
    let counted = this.#counted.get(name)
    if (counted === undefined) {
      const key = { vbid, subject, id }
      const stored = this.#environment.collections.getBinary(key)
      const record = stored
        ? decodeCollectionRecord(stored)
        : { scopeId: 0, items: 0, bytes: 0, highSeqno: 0 }
      this.#counted.set(name, (counted = { key, record }))
    }
    return counted.record
  }
}

function add(held: Held, bytes: number): void {
  held.items++
  held.bytes += bytes
}

function subtract(held: Held, bytes: number): void {
  held.items--
  held.bytes -= bytes
}

/** One number for all of it: no text is made for each record. */
function nameOf(vbid: number, subject: EventSubject, id: number): number {
  return (vbid * 2 + (subject === 'scope' ? 1 : 0)) * 2 ** 32 + id
}
