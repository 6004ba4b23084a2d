import type { BackupCollections, BackupDocument, DataObject } from '../archive/documents.ts'
import { BackupError } from '../errors.ts'
import type { Repository } from '../repository.ts'

/** Where the changes of one vbucket are, in the order in which they are applied. */
export interface VbucketSources {
  readonly vbid: number
  readonly objects: readonly SourceObject[]
}

export interface SourceObject {
  readonly backupId: string
  readonly object: DataObject
}

export interface RestorePlan {
  /** Those that are gone through, oldest first. */
  readonly backups: readonly string[]
  readonly vbuckets: readonly VbucketSources[]
  /** Of all changes in them, and the bytes of their keys and values. */
  readonly records: number
  readonly documentBytes: number
  /** What there was at the end of the last one; undefined: the default collection alone. */
  readonly collections: BackupCollections | undefined
}

export interface BackupRange {
  /** Only what came with this backup and behind it; all of the chain by default. */
  from?: string | undefined
  /** The documents as of this backup; the last complete one by default. */
  to?: string | undefined
}

/**
 * What has to be gone through. A range lies within one chain, that is a full backup and those that
 * continue it: between two chains deletions may be missing.
 */
export async function planRestore(
  repository: Repository,
  key: Buffer | undefined,
  { from, to }: BackupRange,
): Promise<RestorePlan> {
  const complete = (await repository.backups()).flatMap(({ document }) => document ?? [])
  const last = chosen(repository.name, complete, to)
  const chain = await repository.chainTo(last)
  const first =
    from === undefined ? 0 : chain.indexOf(ofChain(chain, chosen(repository.name, complete, from)))
  const objects = new Map<number, SourceObject[]>()
  let records = 0
  let documentBytes = 0
  let collections: BackupCollections | undefined
  for (const { id, ...backup } of chain.slice(first)) {
    const manifest = await repository.manifest({ id, ...backup }, key)
    collections = manifest.collections
    for (const object of manifest.objects) {
      const { counts, vbid } = object
      records += counts.mutation + counts.deletion + counts.expiration
      documentBytes += counts.documentBytes
      const before = objects.get(vbid)
      if (before) before.push({ backupId: id, object })
      else objects.set(vbid, [{ backupId: id, object }])
    }
  }
  return {
    backups: chain.slice(first).map(({ id }) => id),
    vbuckets: [...objects].map(([vbid, list]) => ({ vbid, objects: list })),
    records,
    documentBytes,
    collections,
  }
}

/** By its id, or by its number alone. */
function chosen(
  repository: string,
  complete: readonly BackupDocument[],
  id: string | undefined,
): BackupDocument {
  const isNumber = id !== undefined && /^\d+$/.test(id)
  const found = complete.findLast(
    backup =>
      id === undefined ||
      (isNumber ? Number(backup.id.split('-')[0]) === Number(id) : backup.id === id),
  )
  if (found) return found
  const which = id === undefined ? '' : ` ${id}`
  throw new BackupError('missing', `there is no complete backup${which} in ${repository}`)
}

function ofChain(chain: readonly BackupDocument[], backup: BackupDocument): BackupDocument {
  const found = chain.find(({ id }) => id === backup.id)
  if (found) return found
  throw new BackupError(
    'mismatch',
    `backup ${chain.at(-1)!.id} does not continue ${backup.id}: its chain begins with ${chain[0]!.id}`,
  )
}
