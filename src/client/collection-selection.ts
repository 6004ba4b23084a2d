/** Which collections the streams of a DCP client carry. */
import type { StreamRequestValue } from '../../protocol/dcp/stream-request-value.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { parseCollectionPath, pathText } from './collection-path.ts'
import type { CollectionsManifest } from './collections-manifest.ts'
import { ClientError, ServerError } from './errors.ts'

/** All of the bucket's; those named, each as `scope.collection`; or all of a scope. */
export type CollectionSelection = 'all' | readonly string[] | { readonly scope: string }

/** The same by ids, as stream requests have it. */
export type StreamFilter = Pick<StreamRequestValue, 'collections' | 'scope'>

/** The same in a saved state; ids are hexadecimal text. */
export type SavedSelection = 'all' | readonly string[] | { readonly scope: string }

export function checkSelection(selection: CollectionSelection): void {
  if (typeof selection === 'string' || !Array.isArray(selection)) return
  if (selection.length === 0) throw new RangeError('which collections? none are named')
  for (const name of selection) parseCollectionPath(name)
}

/** Looks the names up. Fails with the ServerError that the server would answer with. */
export function filterOf(
  selection: CollectionSelection,
  { scopes }: CollectionsManifest,
): StreamFilter {
  if (selection === 'all') return {}
  const scopeNamed = (name: string) => {
    const scope = scopes.find(scope => scope.name === name)
    if (scope === undefined) throw new ServerError(Opcode.getScopeId, Status.unknownScope, name)
    return scope
  }
  if ('scope' in selection) return { scope: scopeNamed(selection.scope).id }
  const ids = selection.map(text => {
    const path = parseCollectionPath(text)
    const { collections } = scopeNamed(path.scope)
    const found = collections.find(({ name }) => name === path.collection)
    if (found !== undefined) return found.id
    throw new ServerError(Opcode.getCollectionId, Status.unknownCollection, pathText(path))
  })
  return { collections: [...new Set(ids)].sort((one, other) => one - other) }
}

export function savedSelection({ collections, scope }: StreamFilter): SavedSelection {
  if (scope !== undefined) return { scope: scope.toString(16) }
  return collections === undefined ? 'all' : collections.map(id => id.toString(16))
}

/**
 * A position is one in a stream of certain collections: in another stream, what came before it
 * would be missing. Also, a collection that was dropped and made again is another one.
 */
export function assertSameSelection(saved: unknown, filter: StreamFilter | undefined): void {
  const asked = filter && savedSelection(filter)
  if (JSON.stringify(saved) === JSON.stringify(asked)) return
  throw new ClientError(
    'HOLDFAST_STATE',
    `the saved state cannot be used: it is of ${named(saved)}, not of ${named(asked)}`,
  )
}

function named(selection: unknown): string {
  return selection === undefined
    ? 'the default collection alone'
    : `the collections ${JSON.stringify(selection)}`
}
