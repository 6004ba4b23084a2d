import { defaultCollection, defaultCollectionPath } from './collection-path.ts'
import type { CollectionsManifest } from './collections-manifest.ts'

/** More than a bucket has at a time: changes of those that were dropped may still be on their way. */
const namesMax = 10_000

/**
 * The names that ids of collections stand for, as `scope.collection`. Ids are never used again, so
 * what was learned stays true; the oldest is forgotten when there are too many.
 */
export class CollectionNames {
  readonly #scopes = new Map<number, string>()
  readonly #collections = new Map<number, string>()

  /** `undefined` when nobody has told. */
  of(id: number): string | undefined {
    return id === defaultCollection ? defaultCollectionPath : this.#collections.get(id)
  }

  scope(id: number): string | undefined {
    return this.#scopes.get(id)
  }

  learn({ scopes }: CollectionsManifest): void {
    for (const { id, name, collections } of scopes) {
      this.scopeCreated(id, name)
      for (const collection of collections) this.created(collection.id, id, collection.name)
    }
  }

  scopeCreated(id: number, name: string): void {
    put(this.#scopes, id, name)
  }

  created(id: number, scopeId: number, name: string): void {
    const scope = this.#scopes.get(scopeId)
    if (scope !== undefined) put(this.#collections, id, `${scope}.${name}`)
  }
}

function put(names: Map<number, string>, id: number, name: string): void {
  names.set(id, name)
  if (names.size <= namesMax) return
  const [oldest] = names.keys()
  names.delete(oldest!)
}
