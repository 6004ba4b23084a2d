import type { BackupCollections, BackupDocument, DataObject } from '../archive/documents.ts'
import { isNamed, type BackupRange } from '../chain.ts'
import { BackupError } from '../errors.ts'
import { recordsIn } from '../archive/record-counts.ts'
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

/**
 * What has to be gone through: only what came with the first backup of the range and behind it, by
 * default all of the chain, up to the last, by default the last complete one. A range lies within one chain, that is a full backup and those that
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
  const used = chain.slice(first)
  for (const backup of used) {
    const manifest = await repository.manifest(backup, key)
    collections = manifest.collections
    for (const object of manifest.objects) {
      const { counts, vbid } = object
      records += recordsIn(counts)
      documentBytes += counts.documentBytes
      const before = objects.get(vbid)
      const source = { backupId: backup.id, object }
      if (before) before.push(source)
      else objects.set(vbid, [source])
    }
  }
  return {
    backups: used.map(({ id }) => id),
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
  const found = complete.findLast(backup => id === undefined || isNamed(backup.id, id))
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
