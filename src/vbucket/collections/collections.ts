/**
 * The collections of a bucket: its manifest, and how it changes. A change is on disk before
 * anybody sees it; then, at once, all active vbuckets are brought to it by system events, and
 * whatever a dropped collection held is gone for readers.
 */
import { Status } from '../../../protocol/status.ts'
import { StatusError } from '../../errors.ts'
import { collectionOf, defaultCollection } from '../../storage/record-key.ts'
import type { DocumentWriter } from '../document-writer.ts'
import type { Vbucket } from '../vbucket.ts'
import { defaultName, isTtl, isUserName, Manifest, parseManifest } from './manifest.ts'
import type { CollectionEntry, ScopeEntry } from './manifest.ts'
import type { ManifestHistory } from './manifest-history.ts'
import { bringTo } from './vbucket-events.ts'

export interface CollectionsOptions {
  history: ManifestHistory
  /** Keeps it; resolves when it would survive a crash. */
  store: (history: ManifestHistory) => Promise<void>
  vbuckets: () => Iterable<Vbucket>
  writer: DocumentWriter
  nowSeconds: () => number
  /** A vbucket has been told that a collection is dropped: there may be something to erase. */
  onDropped: () => void
  /** The manifest is another one; `dropped` are the ids that are not in it any more. */
  onChange: (dropped: readonly number[]) => void
}

/** What a change has made. */
export interface ManifestChange {
  /** Of the manifest that has the change. */
  uid: bigint
  /** Of the scope or collection that the change is about. */
  id: number
}

export interface CollectionWishes {
  /** No document may be given an expiry later than this from now; 0: any. */
  maxTtlSeconds?: number
}

/** A scope as somebody wants it, by names alone. */
export interface ScopeWishes {
  readonly name: string
  readonly collections: readonly (CollectionWishes & { readonly name: string })[]
}

export class Collections {
  readonly #options: CollectionsOptions
  #history: ManifestHistory
  #manifest: Manifest
  /** The last change: one at a time. */
  #changing: Promise<unknown> = Promise.resolve()
  /** Whether the default collection is there: asked for with every request of most clients. */
  hasDefault = true
  #defaultMaxTtlSeconds = 0

  constructor(options: CollectionsOptions) {
    this.#options = options
    this.#history = options.history
    this.#manifest = options.history.manifest
    this.#note()
  }

  get manifest(): Manifest {
    return this.#manifest
  }

  /** What limits the expiry of a document with this key, in seconds from now; 0: nothing. */
  maxTtlSeconds(key: Uint8Array, keyStart: number): number {
    if (key[keyStart] === defaultCollection) return this.#defaultMaxTtlSeconds
    return this.#manifest.collection(collectionOf(key, keyStart))?.maxTtlSeconds ?? 0
  }

  /** Whether there is a collection that a document with this key may be in. */
  has(key: Uint8Array, keyStart: number): boolean {
    if (key[keyStart] === defaultCollection) return this.hasDefault
    return this.#manifest.collection(collectionOf(key, keyStart)) !== undefined
  }

  /** Fails with a StatusError: keyExists, or invalidArguments for what is no name. */
  createScope(name: string): Promise<ManifestChange> {
    return this.#change(history => {
      assertUserName(name)
      const { manifest } = history
      if (manifest.scopeNamed(name)) throw exists(`there is a scope ${name}`)
      const id = history.newIds().scope()
      const scope = { id, name, collections: [] }
      return { id, scopes: [...manifest.scopes, scope] }
    })
  }

  /** Fails with a StatusError: unknownScope, keyExists, or invalidArguments. */
  createCollection(
    scopeName: string,
    name: string,
    { maxTtlSeconds = 0 }: CollectionWishes = {},
  ): Promise<ManifestChange> {
    return this.#change(history => {
      assertUserName(name)
      if (!isTtl(maxTtlSeconds)) {
        throw new StatusError(Status.invalidArguments, `no number of seconds: ${maxTtlSeconds}`)
      }
      const scope = scopeIn(history.manifest, scopeName)
      const { collections } = scope
      if (collections.some(other => other.name === name)) {
        throw exists(`there is a collection ${scopeName}.${name}`)
      }
      const id = history.newIds().collection()
      const changed = [...collections, { id, name, maxTtlSeconds }]
      return { id, scopes: withCollections(history.manifest, scope, changed) }
    })
  }

  /** What is not wished for stays. Fails with a StatusError: unknownScope, unknownCollection. */
  changeCollection(
    scopeName: string,
    name: string,
    { maxTtlSeconds }: CollectionWishes,
  ): Promise<ManifestChange> {
    return this.#change(({ manifest }) => {
      const scope = scopeIn(manifest, scopeName)
      const { id, ...before } = collectionIn(scope, name)
      const changed = { ...before, id, maxTtlSeconds: maxTtlSeconds ?? before.maxTtlSeconds }
      const all = scope.collections.map(other => (other.id === id ? changed : other))
      return { id, scopes: withCollections(manifest, scope, all) }
    })
  }

  /** Fails with a StatusError: unknownScope, unknownCollection. */
  dropCollection(scopeName: string, name: string): Promise<ManifestChange> {
    return this.#change(({ manifest }) => {
      const scope = scopeIn(manifest, scopeName)
      const { id } = collectionIn(scope, name)
      const rest = scope.collections.filter(collection => collection.id !== id)
      return { id, scopes: withCollections(manifest, scope, rest) }
    })
  }

  /** The collections in it are dropped, too. Fails with a StatusError: unknownScope. */
  dropScope(name: string): Promise<ManifestChange> {
    return this.#change(({ manifest }) => {
      const { id } = scopeIn(manifest, name)
      if (id === 0) throw new StatusError(Status.invalidArguments, `the scope ${name} stays`)
      return { id, scopes: manifest.scopes.filter(scope => scope.id !== id) }
    })
  }

  /**
   * All scopes at once: what has the name of one that is there stays that one, whatever else is there is
   * dropped. Resolves with the uid, which is another one only if something has changed. Fails with a
   * StatusError: cannotApplyCollectionsManifest where the manifest is not the one with `validOnUid`, or
   * invalidArguments.
   */
  replace(wishes: readonly ScopeWishes[], validOnUid?: bigint): Promise<bigint> {
    return this.#serially(async () => {
      const { uid } = this.#manifest
      if (validOnUid !== undefined && validOnUid !== uid) {
        const message = `the manifest is ${uid.toString(16)}, not ${validOnUid.toString(16)}`
        throw new StatusError(Status.cannotApplyCollectionsManifest, message)
      }
      const scopes = scopesOf(wishes, this.#history)
      const isSame = JSON.stringify(new Manifest(uid, scopes)) === JSON.stringify(this.#manifest)
      if (isSame) return uid
      await this.#become(parseManifest(JSON.stringify(new Manifest(uid + 1n, scopes)), noIds))
      return uid + 1n
    })
  }

  /** SET_COLLECTIONS. Fails with a StatusError when it is no manifest, or cannot follow this one. */
  async set(text: string): Promise<void> {
    await this.#serially(async () => {
      await this.#become(parseManifest(text, this.#history.newIds()))
    })
  }

  /** Gives a vbucket that is active now the events that it lacks. */
  bringUp(vbucket: Vbucket): void {
    const { writer, nowSeconds, onDropped } = this.#options
    const dropped = bringTo(vbucket, this.#manifest, { writer, nowSeconds: nowSeconds() })
    if (dropped.length > 0) onDropped()
  }

  /** The same for all that are active. */
  bringUpAll(): void {
    for (const vbucket of this.#options.vbuckets()) if (vbucket.isActive) this.bringUp(vbucket)
  }

  /** Resolves when no change is under way. */
  async settled(): Promise<void> {
    await this.#changing
  }

  #change(
    change: (history: ManifestHistory) => { id: number; scopes: readonly ScopeEntry[] },
  ): Promise<ManifestChange> {
    return this.#serially(async () => {
      const { id, scopes } = change(this.#history)
      const uid = this.#manifest.uid + 1n
      await this.#become(parseManifest(JSON.stringify(new Manifest(uid, scopes)), noIds))
      return { uid, id }
    })
  }

  async #become(next: Manifest): Promise<void> {
    const history = this.#history.followedBy(next)
    if (next.uid === this.#manifest.uid) return
    const { store, onChange } = this.#options
    await store(history)
    const dropped = [...this.#manifest.collections.keys()].filter(id => !next.collection(id))
    this.#history = history
    this.#manifest = next
    this.#note()
    this.bringUpAll()
    onChange(dropped)
  }

  #note(): void {
    const collection = this.#manifest.collection(defaultCollection)
    this.hasDefault = collection !== undefined
    this.#defaultMaxTtlSeconds = collection?.maxTtlSeconds ?? 0
  }

  #serially<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#changing.then(work)
    this.#changing = result.catch(() => undefined)
    return result
  }
}

const noIds = { scope: outOfIds, collection: outOfIds }

function outOfIds(): never {
  throw new StatusError(Status.internalError, 'every scope and collection has its id by now')
}

/** With the ids of what is there already, and new ones for the rest. */
function scopesOf(wishes: readonly ScopeWishes[], history: ManifestHistory): ScopeEntry[] {
  const { manifest } = history
  const newIds = history.newIds()
  return wishes.map(({ name, collections }) => {
    if (name !== defaultName) assertUserName(name)
    const scope = manifest.scopeNamed(name)
    return {
      id: scope?.id ?? newIds.scope(),
      name,
      collections: collections.map(({ name: collection, maxTtlSeconds = 0 }) => {
        const known = scope?.collections.find(other => other.name === collection)
        if (known === undefined) assertUserName(collection)
        return { id: known?.id ?? newIds.collection(), name: collection, maxTtlSeconds }
      }),
    }
  })
}

function withCollections(
  { scopes }: Manifest,
  { id }: ScopeEntry,
  collections: readonly CollectionEntry[],
): ScopeEntry[] {
  return scopes.map(scope => (scope.id === id ? { ...scope, collections } : scope))
}

function scopeIn(manifest: Manifest, name: string): ScopeEntry {
  const scope = manifest.scopeNamed(name)
  if (scope === undefined) throw new StatusError(Status.unknownScope, `there is no scope ${name}`)
  return scope
}

function collectionIn(scope: ScopeEntry, name: string): CollectionEntry {
  const collection = scope.collections.find(other => other.name === name)
  if (collection !== undefined) return collection
  throw new StatusError(Status.unknownCollection, `there is no collection ${scope.name}.${name}`)
}

function assertUserName(name: string): void {
  if (isUserName(name)) return
  const text = JSON.stringify(name)
  throw new StatusError(Status.invalidArguments, `no name for a scope or collection: ${text}`)
}

function exists(message: string): StatusError {
  return new StatusError(Status.keyExists, message)
}
