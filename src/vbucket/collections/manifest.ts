/**
 * The manifest of a bucket: its scopes, the collections in them, and a uid that grows with every
 * change. Immutable; a change makes another one. As JSON it is what clients are told and set:
 *
 *   {"uid":"a2","scopes":[{"name":"_default","uid":"0","collections":[
 *     {"name":"_default","uid":"0"},{"name":"brewery","uid":"1c","maxTTL":60}]}]}
 *
 * Uids are hexadecimal. There is always the scope `_default` with id 0; the collection of that name
 * and id may have been dropped.
 */
import { Status } from '../../../protocol/status.ts'
import { StatusError } from '../../errors.ts'

export const defaultName = '_default'
export const defaultScope = 0

/** Ids below are reserved, but for 0, the default scope and collection. */
export const firstId = 8
export const idMax = 0xffffffff
export const scopesMax = 1200
export const collectionsMax = 1200
const maxTtlMax = 2 ** 31 - 1

export interface CollectionEntry {
  readonly id: number
  readonly name: string
  /** The greatest expiry that a document may be given, in seconds from then; 0: any. */
  readonly maxTtlSeconds: number
}

export interface ScopeEntry {
  readonly id: number
  readonly name: string
  readonly collections: readonly CollectionEntry[]
}

/** A collection and where it is. */
export interface PlacedCollection extends CollectionEntry {
  readonly scope: ScopeEntry
}

export class Manifest {
  readonly uid: bigint
  readonly scopes: readonly ScopeEntry[]
  readonly #collections = new Map<number, PlacedCollection>()

  constructor(uid: bigint, scopes: readonly ScopeEntry[]) {
    this.uid = uid
    this.scopes = scopes
    for (const scope of scopes) {
      for (const collection of scope.collections) {
        this.#collections.set(collection.id, { ...collection, scope })
      }
    }
  }

  /** All of them, by id. */
  get collections(): ReadonlyMap<number, PlacedCollection> {
    return this.#collections
  }

  collection(id: number): PlacedCollection | undefined {
    return this.#collections.get(id)
  }

  scope(id: number): ScopeEntry | undefined {
    return this.scopes.find(scope => scope.id === id)
  }

  scopeNamed(name: string): ScopeEntry | undefined {
    return this.scopes.find(scope => scope.name === name)
  }

  /** As clients write it. */
  get uidText(): string {
    return this.uid.toString(16)
  }

  toJSON() {
    return {
      uid: this.uidText,
      scopes: this.scopes.map(({ id, name, collections }) => ({
        name,
        uid: id.toString(16),
        collections: collections.map(({ id, name, maxTtlSeconds }) => ({
          name,
          uid: id.toString(16),
          ...(maxTtlSeconds > 0 && { maxTTL: maxTtlSeconds }),
        })),
      })),
    }
  }
}

/** What a bucket begins with. */
export const firstManifest = new Manifest(0n, [
  {
    id: defaultScope,
    name: defaultName,
    collections: [{ id: 0, name: defaultName, maxTtlSeconds: 0 }],
  },
])

/** A name that any scope or collection may have; the ones in front are for the system's own. */
const anyName = /^[A-Za-z0-9_%-][A-Za-z0-9_%$-]{0,250}$/
const userName = /^[A-Za-z0-9-][A-Za-z0-9_%-]{0,250}$/

/** Whether there can be a scope or collection of this name at all. */
export function isName(name: string): boolean {
  return anyName.test(name)
}

/** Whether a user may give it. */
export function isUserName(name: string): boolean {
  return userName.test(name)
}

/** Ids for scopes and collections that came without one. */
export interface NewIds {
  scope(): number
  collection(): number
}

/**
 * Reads the JSON that a client sets. Fails with a StatusError that says what is wrong with it.
 * A scope or collection without a uid is a new one, and is given its id here.
 */
export function parseManifest(text: string, newIds: NewIds): Manifest {
  const root = objectIn(parseJson(text), 'the manifest')
  const uid = uidIn(root, 'the manifest', 16)
  if (uid === undefined) throw fault('the manifest has no uid')
  const scopes = arrayIn(root, 'scopes').map(scope => scopeIn(scope, newIds))
  const manifest = new Manifest(uid, scopes)
  assertSound(manifest)
  return manifest
}

function scopeIn(json: unknown, newIds: NewIds): ScopeEntry {
  const scope = objectIn(json, 'a scope')
  const name = nameIn(scope)
  const id = idIn(scope, name) ?? newIds.scope()
  const collections = arrayIn(scope, 'collections').map(one => collectionIn(one, newIds))
  return { id, name, collections }
}

function collectionIn(json: unknown, newIds: NewIds): CollectionEntry {
  const collection = objectIn(json, 'a collection')
  const name = nameIn(collection)
  const id = idIn(collection, name) ?? newIds.collection()
  const { maxTTL: maxTtlSeconds = 0, history = false } = collection
  if (typeof maxTtlSeconds !== 'number' || !isTtl(maxTtlSeconds)) {
    throw fault(`maxTTL of ${name} is no whole number of seconds up to ${maxTtlMax}`)
  }
  if (typeof history !== 'boolean') throw fault(`history of ${name} is neither true nor false`)
  if (history) {
    throw new StatusError(Status.notSupported, `collections keep no history, as ${name} should`)
  }
  return { id, name, maxTtlSeconds }
}

export function isTtl(seconds: number): boolean {
  return Number.isInteger(seconds) && seconds >= 0 && seconds <= maxTtlMax
}

/** What no manifest may be, whatever was before it. */
function assertSound(manifest: Manifest): void {
  const { scopes } = manifest
  assertUnique(
    scopes.map(({ id }) => id.toString(16)),
    'scopes with the uid',
  )
  assertUnique(
    scopes.map(({ name }) => name),
    'scopes named',
  )
  const collections = scopes.flatMap(scope => scope.collections)
  assertUnique(
    collections.map(({ id }) => id.toString(16)),
    'collections with the uid',
  )
  for (const scope of scopes) {
    assertUnique(
      scope.collections.map(({ name }) => name),
      'collections of a scope named',
    )
    const isDefault = scope.id === defaultScope
    if (isDefault !== (scope.name === defaultName)) throw fault('_default is the scope 0')
    for (const { id, name } of scope.collections) {
      if (id === 0 && (name !== defaultName || !isDefault)) {
        throw fault('the collection 0 is _default._default')
      }
      if (isDefault && name === defaultName && id !== 0) {
        throw fault('the collection _default._default has the uid 0')
      }
    }
  }
  if (manifest.scope(defaultScope) === undefined) throw fault('the scope _default is missing')
  if (scopes.length > scopesMax) throw fault(`more than ${scopesMax} scopes`)
  if (collections.length > collectionsMax) throw fault(`more than ${collectionsMax} collections`)
}

function assertUnique(values: readonly string[], what: string): void {
  const seen = new Set<string>()
  for (const value of values) {
    if (seen.has(value)) throw fault(`there are two ${what} ${value}`)
    seen.add(value)
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw fault('the manifest is no JSON')
  }
}

function objectIn(json: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof json === 'object' && json !== null && !Array.isArray(json)) {
    return json as Readonly<Record<string, unknown>>
  }
  throw fault(`${what} is no object`)
}

function arrayIn(object: Readonly<Record<string, unknown>>, member: string): unknown[] {
  const array = object[member]
  if (Array.isArray(array)) return array
  throw fault(`${member} is no array`)
}

function nameIn(object: Readonly<Record<string, unknown>>): string {
  const { name } = object
  if (typeof name === 'string' && isName(name)) return name
  throw fault(`no name for a scope or collection: ${JSON.stringify(name)}`)
}

/** `undefined` when there is none. */
function uidIn(
  object: Readonly<Record<string, unknown>>,
  what: string,
  digitsMax: number,
): bigint | undefined {
  const { uid } = object
  if (uid === undefined) return undefined
  if (typeof uid === 'string' && /^[0-9a-f]+$/i.test(uid) && uid.length <= digitsMax) {
    return BigInt(`0x${uid}`)
  }
  throw fault(`the uid of ${what} is no hexadecimal text of up to ${digitsMax} digits`)
}

function idIn(object: Readonly<Record<string, unknown>>, name: string): number | undefined {
  const uid = uidIn(object, name, 8)
  if (uid === undefined) return undefined
  const id = Number(uid)
  if (id > 0 && id < firstId) throw fault(`the uid ${id} of ${name} is reserved`)
  return id
}

function fault(message: string): StatusError {
  return new StatusError(Status.invalidArguments, message)
}
