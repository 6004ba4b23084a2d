/** Changes of a bucket's collections, made in the model and in the bucket. */
import { Status } from '../../protocol/status.ts'
import { StatusError } from '../../src/errors.ts'
import type { Collections } from '../../src/vbucket/collections/collections.ts'
import type { ModelManifest } from './manifest.ts'

/** A change of the manifest, as a client asks for it. */
export type ManifestChange =
  | { kind: 'create-scope'; name: string }
  | { kind: 'drop-scope'; id: number }
  | { kind: 'create-collection'; scope: number; name: string; maxTtlSeconds: number }
  | { kind: 'drop-collection'; id: number }

/** What the manifest is after a change; undefined: there is one of the name. */
export function changedManifest(
  before: ModelManifest,
  change: ManifestChange,
): ModelManifest | undefined {
  const after = structuredClone(before)
  after.uid++
  if (change.kind === 'create-scope') {
    if (before.scopes.some(({ name }) => name === change.name)) return undefined
    after.scopes.push({ id: ++after.lastScope, name: change.name })
  } else if (change.kind === 'create-collection') {
    const { name, scope, maxTtlSeconds } = change
    if (before.collections.some(one => one.name === name && one.scope === scope)) return undefined
    after.collections.push({ id: ++after.lastCollection, name, scope, maxTtlSeconds })
  } else if (change.kind === 'drop-scope') {
    after.scopes = before.scopes.filter(({ id }) => id !== change.id)
    after.collections = before.collections.filter(({ scope }) => scope !== change.id)
  } else after.collections = before.collections.filter(({ id }) => id !== change.id)
  return after
}

/** One that is possible; names come back, ids never do. `upTo` draws a number below its limit. */
export function anyChange(
  { scopes, collections }: ModelManifest,
  upTo: (limit: number) => number,
): ManifestChange {
  const scope = scopes[upTo(scopes.length)]!
  const collection = collections[upTo(collections.length)]!
  const maxTtlSeconds = upTo(3) === 0 ? 600 : 0
  const kinds: ManifestChange[] = [
    { kind: 'create-scope', name: `scope-${upTo(4)}` },
    { kind: 'create-collection', scope: scope.id, name: `collection-${upTo(4)}`, maxTtlSeconds },
  ]
  const hasOthers = collections.some(other => other.scope !== scope.id)
  if (scope.id !== 0 && hasOthers) kinds.push({ kind: 'drop-scope', id: scope.id })
  // Once it is gone the default collection never comes back: that is not to be every time.
  const isDropped = collection.id !== 0 || upTo(20) === 0
  if (isDropped && collections.length > 1)
    kinds.push({ kind: 'drop-collection', id: collection.id })
  return kinds[upTo(kinds.length)]!
}

/** Asks the bucket for a change of `manifest`; resolves with how that ended. */
export async function askFor(
  change: ManifestChange,
  collections: Collections,
  manifest: ModelManifest,
): Promise<Status> {
  const scopeNamed = (id: number) => manifest.scopes.find(scope => scope.id === id)!.name
  try {
    if (change.kind === 'create-scope') await collections.createScope(change.name)
    else if (change.kind === 'drop-scope') await collections.dropScope(scopeNamed(change.id))
    else if (change.kind === 'create-collection') {
      const { scope, name, maxTtlSeconds } = change
      await collections.createCollection(scopeNamed(scope), name, { maxTtlSeconds })
    } else {
      const { scope, name } = manifest.collections.find(({ id }) => id === change.id)!
      await collections.dropCollection(scopeNamed(scope), name)
    }
    return Status.success
  } catch (error) {
    if (error instanceof StatusError) return error.status
    throw error
  }
}
