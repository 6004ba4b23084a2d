/** The manifest of a bucket's collections, as GET_COLLECTIONS_MANIFEST tells and SET_ takes it. */
import { protocolError } from './errors.ts'

export interface ManifestCollection {
  readonly id: number
  readonly name: string
  /** The greatest expiry that a document may be given, in seconds from then; 0: any. */
  readonly maxTtlSeconds: number
}

export interface ManifestScope {
  readonly id: number
  readonly name: string
  readonly collections: readonly ManifestCollection[]
}

export interface CollectionsManifest {
  /** Grows with every change. */
  readonly uid: bigint
  readonly scopes: readonly ManifestScope[]
}

/** What is to become a manifest: whatever has no id is new, and is given one by the server. */
export interface WantedManifest {
  readonly uid: bigint
  readonly scopes: readonly WantedScope[]
}

export interface WantedScope extends Omit<ManifestScope, 'id' | 'collections'> {
  readonly id?: number
  readonly collections: readonly WantedCollection[]
}

export interface WantedCollection extends Omit<ManifestCollection, 'id'> {
  readonly id?: number
}

/** Uids are hexadecimal; those who have none yet are missing. */
export interface ManifestJson {
  readonly uid: string
  readonly scopes: readonly {
    readonly name: string
    readonly uid?: string
    readonly collections: readonly {
      readonly name: string
      readonly uid?: string
      readonly maxTTL?: number
    }[]
  }[]
}

/** Uids are hexadecimal text: `{"uid":"a2","scopes":[{"name":"_default","uid":"0",…}]}`. */
export function decodeManifest(text: string): CollectionsManifest {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw malformed()
  }
  return manifestOf(json)
}

/** The same from JSON that was parsed. */
export function manifestOf(json: unknown): CollectionsManifest {
  const root = membersOf(json)
  const scopes = listOf(root['scopes']).map(scope => {
    const { name, uid, collections } = membersOf(scope)
    const entries = listOf(collections).map(decodeCollection)
    return { id: idOf(uid), name: nameOf(name), collections: entries }
  })
  return { uid: uidOf(root['uid'], 16), scopes }
}

export function encodeManifest(manifest: WantedManifest): string {
  return JSON.stringify(manifestJson(manifest))
}

/** What becomes the text. */
export function manifestJson({ uid, scopes }: WantedManifest): ManifestJson {
  return {
    uid: uid.toString(16),
    scopes: scopes.map(({ id, name, collections }) => ({
      name,
      ...uidMember(id),
      collections: collections.map(({ id, name, maxTtlSeconds }) => ({
        name,
        ...uidMember(id),
        ...(maxTtlSeconds > 0 && { maxTTL: maxTtlSeconds }),
      })),
    })),
  }
}

function uidMember(id: number | undefined): { uid?: string } {
  return id === undefined ? {} : { uid: id.toString(16) }
}

function decodeCollection(json: unknown): ManifestCollection {
  const { name, uid, maxTTL = 0 } = membersOf(json)
  if (!Number.isSafeInteger(maxTTL)) throw malformed()
  return { id: idOf(uid), name: nameOf(name), maxTtlSeconds: maxTTL as number }
}

function membersOf(json: unknown): Readonly<Record<string, unknown>> {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw malformed()
  return json as Readonly<Record<string, unknown>>
}

function listOf(json: unknown): unknown[] {
  if (!Array.isArray(json)) throw malformed()
  return json as unknown[]
}

function nameOf(json: unknown): string {
  if (typeof json !== 'string') throw malformed()
  return json
}

function uidOf(json: unknown, digitsMax: number): bigint {
  if (typeof json !== 'string' || !/^[0-9a-f]+$/i.test(json) || json.length > digitsMax) {
    throw malformed()
  }
  return BigInt(`0x${json}`)
}

function idOf(json: unknown): number {
  return Number(uidOf(json, 8))
}

function malformed() {
  return protocolError('a malformed manifest of collections')
}
