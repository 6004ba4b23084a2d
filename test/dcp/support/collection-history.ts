/**
 * A model of what happens to one vbucket with collections: every change and every system event, by
 * seqno, as a client that sees everything would be told of it.
 */
import { strict as assert } from 'node:assert'
import type { Message } from './recorder.ts'

/** What a stream asks for; undefined: no filter. */
export interface Wanted {
  isAware: boolean
  collections: readonly number[] | undefined
  scope: number | undefined
}

export const everything: Wanted = { isAware: true, collections: undefined, scope: undefined }

export interface HistoryEntry {
  seqno: number
  /** As `Recorder` calls it: mutation, deletion, event. */
  what: string
  /** Of an event: its number. */
  code: number | undefined
  /** Of the scope that it is about, or that its collection is in. */
  scope: number
  /** undefined: the event is about a scope. */
  collection: number | undefined
  /** Of a document; of an event, the name that was given. */
  key: string
  value: string
  /** It may be purged. */
  isTombstone: boolean
}

interface LiveCollection {
  id: number
  name: string
  scope: number
  documents: Map<string, string>
}

const collectionCreated = 0
const collectionDropped = 1
const scopeCreated = 3
const scopeDropped = 4

export class CollectionHistory {
  /** By seqno - 1: there are no gaps. */
  readonly entries: HistoryEntry[] = []
  readonly scopes = new Map<number, string>([[0, '_default']])
  readonly collections = new Map<number, LiveCollection>()
  #nextId = { scope: 8, collection: 8 }

  constructor() {
    this.collections.set(0, { id: 0, name: '_default', scope: 0, documents: new Map() })
  }

  get highSeqno(): number {
    return this.entries.length
  }

  set(collection: number, key: string, value: string): void {
    this.#change('mutation', collection, key, value)
    this.collections.get(collection)!.documents.set(key, value)
  }

  remove(collection: number, key: string): void {
    this.#change('deletion', collection, key, '')
    this.collections.get(collection)!.documents.delete(key)
  }

  createScope(name: string): number {
    const id = this.#nextId.scope++
    this.scopes.set(id, name)
    this.#event(scopeCreated, id, undefined, name)
    return id
  }

  createCollection(scope: number, name: string): number {
    const id = this.#nextId.collection++
    this.collections.set(id, { id, name, scope, documents: new Map() })
    this.#event(collectionCreated, scope, id, name)
    return id
  }

  dropCollection(id: number): void {
    const { scope } = this.collections.get(id)!
    this.collections.delete(id)
    this.#event(collectionDropped, scope, id, '')
  }

  /** What is in it goes first. */
  dropScope(id: number): void {
    for (const collection of this.collections.values()) {
      if (collection.scope === id) this.dropCollection(collection.id)
    }
    this.scopes.delete(id)
    this.#event(scopeDropped, id, undefined, '')
  }

  /** Whether everything that a stream is of is there. */
  has({ collections, scope }: Wanted): boolean {
    if (scope !== undefined) return this.scopes.has(scope)
    return (collections ?? []).every(id => this.collections.has(id))
  }

  /** The seqno behind which nothing can come any more, when all that is wanted was dropped. */
  goneAt({ collections, scope }: Wanted): number | undefined {
    if (scope !== undefined) return this.#dropOf(scopeDropped, entry => entry.scope === scope)
    if (collections === undefined) return undefined
    const drops = collections.map(id =>
      this.#dropOf(collectionDropped, entry => entry.collection === id),
    )
    return drops.includes(undefined) ? undefined : Math.max(...drops.map(seqno => seqno!))
  }

  passes({ what, scope, collection }: HistoryEntry, wanted: Wanted): boolean {
    if (!wanted.isAware) return what !== 'event' && collection === 0
    if (wanted.scope !== undefined) return scope === wanted.scope
    if (wanted.collections === undefined) return true
    return collection !== undefined && wanted.collections.includes(collection)
  }

  /** What a client with all up to the newest change must have been told of, and nothing newer. */
  needed(wanted: Wanted): HistoryEntry[] {
    const newest = new Map<string, HistoryEntry>()
    for (const entry of this.entries) newest.set(subjectOf(entry), entry)
    return [...newest.values()].filter(
      entry =>
        this.passes(entry, wanted) &&
        (entry.what === 'event' || this.collections.has(entry.collection!)),
    )
  }

  /** Documents that a client has, as `collection:key`. */
  documents(wanted: Wanted): Map<string, string> {
    const found = new Map<string, string>()
    for (const { what, collection, key, value } of this.needed(wanted)) {
      if (what === 'mutation') found.set(`${collection}:${key}`, value)
    }
    return found
  }

  /** Fails when this is not what has happened at this seqno, or is not for this stream. */
  check(message: Message, wanted: Wanted): void {
    const entry = this.entries[message.seqno - 1]
    assert.ok(entry, `${message.what} at ${message.seqno}, which was never given`)
    assert.ok(this.passes(entry, wanted), `${message.what} at ${message.seqno} is not for it`)
    const { what, code, scope, collection, key, value } = message
    const isEvent = what === 'event'
    const found = {
      what,
      key,
      ...(isEvent ? { code, scope, collection } : { value }),
      ...(!isEvent && wanted.isAware ? { collection } : {}),
    }
    assert.deepEqual(found, pick(entry, Object.keys(found)))
  }

  #change(what: string, collection: number, key: string, value: string): void {
    const { scope } = this.collections.get(collection)!
    this.#add({ what, code: undefined, scope, collection, key, value })
  }

  #event(code: number, scope: number, collection: number | undefined, key: string): void {
    this.#add({ what: 'event', code, scope, collection, key, value: '' })
  }

  #add(entry: Omit<HistoryEntry, 'seqno' | 'isTombstone'>): void {
    const { what, code } = entry
    const isTombstone = what === 'deletion' || code === collectionDropped || code === scopeDropped
    this.entries.push({ seqno: this.entries.length + 1, isTombstone, ...entry })
  }

  #dropOf(code: number, isIt: (entry: HistoryEntry) => boolean): number | undefined {
    return this.entries.find(entry => entry.code === code && isIt(entry))?.seqno
  }
}

/** What a later entry of the same subject takes the place of. */
function subjectOf({ what, scope, collection, key }: HistoryEntry): string {
  if (what !== 'event') return `${collection}:${key}`
  return collection === undefined ? `scope ${scope}` : `collection ${collection}`
}

function pick(entry: HistoryEntry, names: string[]): object {
  return Object.fromEntries(names.map(name => [name, entry[name as keyof HistoryEntry]]))
}
