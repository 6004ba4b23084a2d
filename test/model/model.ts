import { strict as assert } from 'node:assert'
import { leb128Length, writeLeb128 } from '../../protocol/leb128.ts'
import { collectionOf } from '../../src/storage/record-key.ts'
import { RecordKind, type RecordView } from '../../src/storage/record.ts'
import {
  eventSubject,
  eventSubjectId,
  isSystemEvent,
} from '../../src/storage/system-event-record.ts'

/** One change as a client could know it. */
export interface Change {
  seqno: number
  /** Of a document, with its collection: `8:key`; of a system event, its subject: `scope 8`. */
  key: string
  kind: RecordKind
  value: string
  revno: number
  cas: string
  flags: number
  datatype: number
  /** Expiry of a mutation, delete time of a tombstone. */
  time: number
}

/** What a vbucket has been told, and what it must be by that. */
export class ModelVbucket {
  /** By seqno, gapless from 1. */
  changes: Change[] = []
  /** The newest change of each key, but for tombstones that are purged. */
  readonly current = new Map<string, Change>()
  purgeSeqno = 0
  /** Seqnos of tombstones that are gone. */
  readonly #purged = new Set<number>()
  /** Reported to be on disk. */
  persisted = 0

  get highSeqno(): number {
    return this.changes.length
  }

  get maxCas(): bigint {
    return this.changes.reduce((max, { cas }) => (BigInt(cas) > max ? BigInt(cas) : max), 0n)
  }

  add(change: Change): void {
    assert.equal(change.seqno, this.highSeqno + 1)
    this.changes.push(change)
    this.#replace(change)
  }

  /** What was told of collections and scopes, in the order of its seqnos. */
  events(): { key: string; isDeletion: boolean }[] {
    return this.changes
      .filter(({ key }) => isEventKey(key))
      .map(({ key, kind }) => ({ key, isDeletion: kind !== RecordKind.mutation }))
  }

  /**
   * Removes every tombstone up to `last` but the newest change of the default collection: a stream
   * of a client that knows of no other ends there.
   */
  purge(last: number): void {
    const kept = this.highSeqnoOf(0)
    for (const { key, seqno, kind } of this.current.values()) {
      if (kind === RecordKind.mutation || seqno > last || seqno === kept) continue
      this.current.delete(key)
      this.#purged.add(seqno)
      this.purgeSeqno = Math.max(this.purgeSeqno, seqno)
    }
  }

  /** Forgets what a crash took: everything behind `highSeqno`. */
  cut(highSeqno: number): void {
    assert.ok(highSeqno >= this.persisted, `${this.persisted} was on disk, ${highSeqno} is`)
    assert.ok(highSeqno <= this.highSeqno)
    this.changes = this.changes.slice(0, highSeqno)
    this.current.clear()
    for (const change of this.changes) this.#replace(change)
    for (const { key, seqno } of this.current.values()) {
      if (this.#purged.has(seqno)) this.current.delete(key)
    }
  }

  /**
   * What a snapshot with this high and purge seqno holds, in the order of a backfill, and which of
   * that may be gone: tombstones, and what collections had that were dropped by then.
   */
  at(highSeqno: number, purgeSeqno: number): { held: Change[]; mayBeGone: Set<number> } {
    const newest = new Map<string, Change>()
    const before = this.changes.slice(0, highSeqno)
    for (const change of before) newest.set(change.key, change)
    const dropped = new Set(before.filter(isDrop).map(({ key }) => Number(key.split(' ')[1])))
    const held = [...newest.values()].sort((a, b) => a.seqno - b.seqno)
    const mayGo = held.filter(
      ({ kind, seqno, key }) =>
        (kind !== RecordKind.mutation && seqno <= purgeSeqno) ||
        (!isEventKey(key) && dropped.has(collectionIn(key))),
    )
    return { held, mayBeGone: new Set(mayGo.map(({ seqno }) => seqno)) }
  }

  live(key: string, nowSeconds: number): Change | undefined {
    const change = this.current.get(key)
    if (change === undefined || change.kind !== RecordKind.mutation) return undefined
    return change.time !== 0 && change.time <= nowSeconds ? undefined : change
  }

  /** The documents that live, in one collection or in all; bytes are those of keys and values. */
  held(collection?: number): { items: number; bytes: number } {
    let items = 0
    let bytes = 0
    for (const { key, kind, value } of this.current.values()) {
      if (kind !== RecordKind.mutation || isEventKey(key)) continue
      const id = collectionIn(key)
      if (collection !== undefined && id !== collection) continue
      items++
      bytes += leb128Length(id) + key.length - `${id}:`.length + value.length
    }
    return { items, bytes }
  }

  get tombstones(): number {
    return [...this.current.values()].filter(({ kind }) => kind !== RecordKind.mutation).length
  }

  /** Of the newest change in a collection. */
  highSeqnoOf(collection: number): number {
    const own = this.changes.filter(
      ({ key }) => !isEventKey(key) && collectionIn(key) === collection,
    )
    return own.at(-1)?.seqno ?? 0
  }

  /** What a collection has is gone with the event that drops it. */
  #replace(change: Change): void {
    this.current.set(change.key, change)
    if (!isDrop(change)) return
    const prefix = `${change.key.split(' ')[1]}:`
    for (const key of this.current.keys()) if (key.startsWith(prefix)) this.current.delete(key)
  }
}

function isEventKey(key: string): boolean {
  return key.startsWith('scope ') || key.startsWith('collection ')
}

function isDrop({ key, kind }: Change): boolean {
  return key.startsWith('collection ') && kind !== RecordKind.mutation
}

/** Of a document's key. */
export function collectionIn(key: string): number {
  return Number(key.slice(0, key.indexOf(':')))
}

/** Of `8:key` the bytes in which a document has it. */
export function keyBytes(name: string): Buffer {
  const id = collectionIn(name)
  const prefix = Buffer.alloc(leb128Length(id))
  writeLeb128(prefix, 0, id)
  return Buffer.concat([prefix, Buffer.from(name.slice(name.indexOf(':') + 1))])
}

/** A record as a change. */
export function changeIn(record: RecordView): Change {
  const { seqno, kind, revno, flags, datatype, isDeletion, deleteTime, expiry } = record
  return {
    seqno,
    key: nameOf(record),
    kind,
    value: record.value().toString(),
    revno,
    cas: `${record.cas}`,
    flags,
    datatype,
    time: isDeletion ? deleteTime : expiry,
  }
}

function nameOf(record: RecordView): string {
  if (isSystemEvent(record)) return `${eventSubject(record)} ${eventSubjectId(record)}`
  const collection = collectionOf(record.bytes, record.keyStart)
  return `${collection}:${record.key().toString('utf8', leb128Length(collection))}`
}
