import type { BackupDocument } from '../archive/documents.ts'
import { backupNamed, backupsIn, chainAmong, isNamed, type BackupRange } from '../chain.ts'
import { unfinishedBehind } from '../unfinished.ts'
import { BackupError } from '../errors.ts'
import type { ListedBackup, Repository } from '../repository.ts'

/**
 * The backups that become one, oldest first. Just one if they are one already: a merge that is run again
 * when it was through names some that are gone.
 */
export async function mergeRange(
  repository: Repository,
  listed: readonly ListedBackup[],
  range: BackupRange,
): Promise<BackupDocument[]> {
  const { to, last } = lastOf(listed, range)
  const { from = firstOfChain(listed, last).id } = range
  if (last.merged?.some(id => isNamed(id, from))) return [last]
  const backups = backupsIn(listed, { from, to }).map(({ id, document }) => {
    if (!document) throw new BackupError('damaged', `backup ${id} is not complete`)
    return document
  })
  if (backups.length < 2)
    throw new BackupError('missing', `there is nothing that ${last.id} could be merged with`)
  for (const [index, backup] of backups.entries()) {
    const before = backups[index - 1]
    if (before && backup.previous !== before.id)
      throw new BackupError('chain', `${backup.id} does not continue ${before.id}`)
  }
  const inner = new Set(backups.slice(0, -1).map(({ id }) => id))
  const others = listed.flatMap(({ document }) =>
    document && !backups.includes(document) && inner.has(document.previous ?? '')
      ? document.id
      : [],
  )
  others.push(...(await unfinishedBehind(repository, listed, inner)))
  if (others.length > 0)
    throw new BackupError(
      'chain',
      `${others.join(', ')} could not be restored any more, as it continues what would be merged`,
    )
  return backups
}

function lastOf(
  listed: readonly ListedBackup[],
  { to }: BackupRange,
): { to: string; last: BackupDocument } {
  const complete = listed.filter(({ state }) => state === 'complete')
  const found = to === undefined ? complete.at(-1) : backupNamed(listed, to)
  if (found?.document) return { to: found.id, last: found.document }
  throw new BackupError('missing', `there is no complete backup ${to ?? ''}`.trim())
}

function firstOfChain(listed: readonly ListedBackup[], last: BackupDocument): BackupDocument {
  const chain = chainAmong(
    listed.flatMap(({ document }) => document ?? []),
    last,
  )
  if (chain) return chain[0]!
  throw new BackupError('damaged', `a backup that ${last.id} continues is not there`)
}
