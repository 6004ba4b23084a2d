import { leb128Length, writeLeb128 } from '../../../protocol/leb128.ts'
import {
  CollectionManager,
  defaultCollectionPath,
  parseCollectionPath,
  pathText,
  ServerError,
  type CollectionsManifest,
  type KvClient,
} from '../../client/index.ts'
import type { BackupCollections } from '../archive/documents.ts'
import { BackupError } from '../errors.ts'

export interface CollectionSelection {
  /** Only these, each as `scope.collection`; and all of these scopes. All of the backup by default. */
  collections?: readonly string[] | undefined
  scopes?: readonly string[] | undefined
  /** Where documents of a collection go instead: `scope.collection=scope.collection`. */
  collectionMap?: readonly string[] | undefined
}

interface SourceCollection {
  readonly id: number
  /** In the backup, and in the bucket. */
  readonly from: string
  readonly to: string
  readonly maxTtlSeconds: number
}

/** What is restored, by the ids that collections have in the backup. Fails with a RangeError. */
export function selectCollections(
  collections: BackupCollections | undefined,
  selection: CollectionSelection,
): SourceCollection[] {
  const targets = new Map<string, string>()
  for (const text of selection.collectionMap ?? []) {
    const [from, to, ...more] = text.split('=')
    if (!from || !to || more.length > 0)
      throw new RangeError(`collections are mapped as FROM=TO, not ${JSON.stringify(text)}`)
    targets.set(checked(from), checked(to))
  }
  const names = new Set(selection.collections?.map(checked))
  const scopes = new Set(selection.scopes)
  const isSelected = (scope: string, path: string) =>
    (names.size === 0 && scopes.size === 0) || names.has(path) || scopes.has(scope)
  const known = new Set<string>()
  const selected: SourceCollection[] = []
  for (const { scope, path, id, maxTtlSeconds } of listed(collections)) {
    known.add(path).add(scope)
    if (isSelected(scope, path))
      selected.push({ id, from: path, to: targets.get(path) ?? path, maxTtlSeconds })
  }
  for (const name of [...names, ...scopes, ...targets.keys()])
    if (!known.has(name))
      throw new BackupError('missing', `there is no scope or collection ${name} in the backup`)
  return selected
}

function* listed(collections: BackupCollections | undefined) {
  if (!collections) {
    yield { scope: '_default', path: defaultCollectionPath, id: 0, maxTtlSeconds: 0 }
    return
  }
  for (const { name: scope, collections: own } of collections.scopes)
    for (const { name, uid, maxTTL = 0 } of own)
      yield { scope, path: `${scope}.${name}`, id: Number.parseInt(uid, 16), maxTtlSeconds: maxTTL }
}

function checked(text: string): string {
  return pathText(parseCollectionPath(text))
}

/** What stands in front of a key on the wire, by the id that its collection has in the backup. */
export class CollectionRoutes {
  readonly #prefixes = new Map<number, Uint8Array>()

  /**
   * Looks the collections up in the bucket, and makes those that are missing. `client` was connected
   * with collections, if the server has any.
   */
  static async open(
    selected: readonly SourceCollection[],
    client: KvClient,
    hasCollections: boolean,
  ): Promise<CollectionRoutes> {
    const routes = new CollectionRoutes()
    if (!hasCollections) {
      const other = selected.find(({ to }) => to !== defaultCollectionPath)
      if (other)
        throw new BackupError('refused', `the server has no collections, so no ${other.to} either`)
      for (const { id } of selected) routes.#prefixes.set(id, Buffer.alloc(0))
      return routes
    }
    await createMissing(selected, new CollectionManager(client))
    const ids = idsOf(await client.collectionsManifest())
    for (const { id, to } of selected) {
      const found = ids.get(to)
      if (found === undefined)
        throw new BackupError('refused', `the bucket has no collection ${to} any more`)
      routes.#prefixes.set(id, prefixOf(found))
    }
    return routes
  }

  /** Undefined: not asked for, or dropped by the time of the backup. */
  prefixOf(collectionId: number): Uint8Array | undefined {
    return this.#prefixes.get(collectionId)
  }
}

function prefixOf(id: number): Uint8Array {
  const prefix = Buffer.alloc(leb128Length(id))
  writeLeb128(prefix, 0, id)
  return prefix
}

async function createMissing(
  selected: readonly SourceCollection[],
  manager: CollectionManager,
): Promise<void> {
  const manifest = await manager.manifest()
  const scopes = new Set(manifest.scopes.map(({ name }) => name))
  const ids = idsOf(manifest)
  for (const { to, maxTtlSeconds } of selected) {
    if (ids.has(to)) continue
    const { scope } = parseCollectionPath(to)
    if (!scopes.has(scope)) await made(`scope ${scope}`, () => manager.createScope(scope))
    scopes.add(scope)
    await made(`collection ${to}`, () => manager.createCollection(to, { maxTtlSeconds }))
    ids.set(to, -1)
  }
}

/** Somebody else may be making the same; and not everybody may. */
async function made(what: string, create: () => Promise<void>): Promise<void> {
  try {
    await create()
  } catch (error) {
    if (!(error instanceof ServerError)) throw error
    if (error.statusName === 'keyExists') return
    const message = `${what} is missing in the bucket and cannot be made: ${error.message}`
    throw new BackupError('refused', message, { cause: error })
  }
}

function idsOf({ scopes }: CollectionsManifest): Map<string, number> {
  return new Map(
    scopes.flatMap(scope =>
      scope.collections.map(({ id, name }) => [`${scope.name}.${name}`, id] as const),
    ),
  )
}
