/** Which records a stream brings, by the collection that they are in. */
import type { FrameForm } from './record-frame.ts'
import { collectionOf, defaultCollection, systemCollection } from './record-key.ts'
import type { RecordView } from './record.ts'
import { eventScopeId, eventSubject, eventSubjectId } from './system-event-record.ts'

/** Plain data: it is sent to the worker. */
export interface CollectionFilter {
  /** Of a scope: the collections that it has or had since the stream began. */
  collections: number[]
  scopeId: number | undefined
}

export class RecordFilter {
  readonly #isAware: boolean
  readonly #hasDefault: boolean
  readonly #scopeId: number | undefined
  /** undefined: all. */
  readonly #ids: Set<number> | undefined

  constructor({ collections, filter }: Pick<FrameForm, 'collections' | 'filter'>) {
    this.#isAware = collections
    this.#ids = filter && new Set(filter.collections)
    this.#hasDefault = this.#ids === undefined || this.#ids.has(defaultCollection)
    this.#scopeId = filter?.scopeId
  }

  /** Whether there is nothing that it holds back. */
  get passesAll(): boolean {
    return this.#isAware && this.#ids === undefined
  }

  /** A collection has come into the scope. */
  add(id: number): void {
    this.#ids?.add(id)
  }

  passes(record: RecordView): boolean {
    const { bytes, keyStart } = record
    const first = bytes[keyStart]
    if (first === defaultCollection) return this.#hasDefault
    if (!this.#isAware) return false
    if (this.#ids === undefined) return true
    if (first === systemCollection) return this.#passesEvent(record, this.#ids)
    return this.#ids.has(collectionOf(bytes, keyStart))
  }

  #passesEvent(record: RecordView, ids: ReadonlySet<number>): boolean {
    if (this.#scopeId !== undefined) return eventScopeId(record) === this.#scopeId
    return eventSubject(record) === 'collection' && ids.has(eventSubjectId(record))
  }
}
