/**
 * What one vbucket knows of collections: which ones its system events have brought to it, how much
 * each of them holds, and what has been dropped and is not removed yet. It may lag behind the
 * bucket's manifest, as that of a replica does.
 */
import { collectionOf, defaultCollection } from '../../storage/record-key.ts'
import type { StoredCollection } from '../../storage/collection-record.ts'
import { sumOfHeld, type Held } from '../../storage/held.ts'
import type { VbucketRecord } from '../../storage/vbucket-record.ts'
import { defaultScope } from './manifest.ts'

/** Of a collection besides the default one. */
export interface CollectionFigures extends Held {
  /** Of the scope that it is in. */
  scopeId: number
  /** Of the newest change of a document in it; 0 before the first. */
  highSeqno: number
}

export class VbucketCollections {
  readonly #named = new Map<number, CollectionFigures>()
  readonly #scopes = new Set<number>([defaultScope])
  /** By id, the seqno of the event that dropped a collection of which something may be on disk. */
  readonly #doomed = new Map<number, number>()
  /** Of the newest change in the default collection; 0 before the first. */
  defaultSeqno: number
  /** Of the manifest that its events have brought it to. */
  manifestUid: bigint
  #hasDefault = true

  constructor(
    stored: readonly StoredCollection[],
    { defaultSeqno, manifestUid }: Pick<VbucketRecord, 'defaultSeqno' | 'manifestUid'>,
  ) {
    this.defaultSeqno = defaultSeqno ?? 0
    this.manifestUid = BigInt(`0x${manifestUid ?? '0'}`)
    for (const { subject, id, droppedSeqno, isErased, ...figures } of stored) {
      if (subject === 'scope') this.#scopes.add(id)
      else if (droppedSeqno === undefined) this.#named.set(id, figures)
      else {
        if (!isErased) this.#doomed.set(id, droppedSeqno)
        if (id === defaultCollection) this.#hasDefault = false
      }
    }
  }

  get hasDefault(): boolean {
    return this.#hasDefault
  }
  get named(): ReadonlyMap<number, Readonly<CollectionFigures>> {
    return this.#named
  }
  get scopes(): ReadonlySet<number> {
    return this.#scopes
  }
  get doomed(): ReadonlyMap<number, number> {
    return this.#doomed
  }

  has(id: number): boolean {
    return id === defaultCollection ? this.#hasDefault : this.#named.has(id)
  }

  /** By all collections but the default one. */
  heldByNamed(): Held {
    return sumOfHeld(this.#named.values())
  }

  highSeqno(id: number): number {
    if (id === defaultCollection) return this.#hasDefault ? this.defaultSeqno : 0
    return this.#named.get(id)?.highSeqno ?? 0
  }

  /** What counts for a key outside of the default collection. */
  figuresOf(key: Uint8Array, keyStart: number): CollectionFigures {
    return this.#figures(collectionOf(key, keyStart))
  }

  scopeCreated(id: number): void {
    this.#scopes.add(id)
  }

  scopeDropped(id: number): void {
    this.#scopes.delete(id)
  }

  created(id: number, scopeId: number): void {
    this.#figures(id).scopeId = scopeId
  }

  dropped(id: number, seqno: number): void {
    this.#doomed.set(id, seqno)
    if (id === defaultCollection) this.#hasDefault = false
    else this.#named.delete(id)
  }

  /** Nothing of these is on disk any more. */
  erased(ids: Iterable<number>): void {
    for (const id of ids) this.#doomed.delete(id)
  }

  #figures(id: number): CollectionFigures {
    let figures = this.#named.get(id)
    if (figures === undefined) {
      figures = { scopeId: 0, items: 0, bytes: 0, highSeqno: 0 }
      this.#named.set(id, figures)
    }
    return figures
  }
}
