import type { BackupDocument } from './archive/documents.ts'
import { backupNumberOf } from './archive/layout.ts'
import { BackupError } from './errors.ts'
import type { ListedBackup } from './repository.ts'

/** Those that `backup` continues, oldest first, itself last; undefined if one of them is not there. */
export function chainAmong(
  backups: readonly BackupDocument[],
  backup: BackupDocument,
): BackupDocument[] | undefined {
  const { chain, gap } = followed(backups, backup)
  return gap === undefined ? chain : undefined
}

/** Where the chain of `backup` is broken: the backup whose `previous` is not there; undefined if it is whole. */
export function gapIn(
  backups: readonly BackupDocument[],
  backup: BackupDocument,
): BackupDocument | undefined {
  return followed(backups, backup).gap
}

/** As far as there are those that it continues: `gap` is the one behind which there is none. */
function followed(
  backups: readonly BackupDocument[],
  backup: BackupDocument,
): { chain: BackupDocument[]; gap: BackupDocument | undefined } {
  const chain = [backup]
  while (chain[0]!.type === 'incremental') {
    const previous = backups.find(({ id }) => id === chain[0]!.previous)
    if (!previous || chain.includes(previous)) return { chain, gap: chain[0] }
    chain.unshift(previous)
  }
  return { chain, gap: undefined }
}

/** Those, not themselves among `ids`, that could not be restored without the backups of these ids. */
export function dependentsOf(
  backups: readonly BackupDocument[],
  ids: ReadonlySet<string>,
): BackupDocument[] {
  return backups.filter(
    backup =>
      !ids.has(backup.id) && chainAmong(backups, backup)?.some(({ id }) => ids.has(id)) === true,
  )
}

/** Backups from one to another, both included; each is named by its id or its number. */
export interface BackupRange {
  /** The oldest by default. */
  readonly from?: string | undefined
  /** The newest by default. */
  readonly to?: string | undefined
}

/** Of all that are not unfinished, which the range has; oldest first. */
export function backupsIn(
  listed: readonly ListedBackup[],
  { from, to }: BackupRange,
): ListedBackup[] {
  const start = from === undefined ? 0 : listed.indexOf(backupNamed(listed, from))
  const end = to === undefined ? listed.length : listed.indexOf(backupNamed(listed, to)) + 1
  if (start >= end && from !== undefined && to !== undefined)
    throw new BackupError('missing', `${from} is newer than ${to}`)
  return listed.slice(start, end).filter(({ state }) => state !== 'unfinished')
}

/** Whether a backup is meant by its id or by its number, leading zeros or not. */
export function isNamed(id: string, name: string): boolean {
  return /^\d+$/.test(name) ? backupNumberOf(id) === Number(name) : id === name
}

/** Fails with a BackupError unless there is just one. */
export function backupNamed(listed: readonly ListedBackup[], name: string): ListedBackup {
  const found = listed.filter(({ id }) => isNamed(id, name))
  if (found.length === 1) return found[0]!
  if (found.length === 0) throw new BackupError('missing', `there is no backup ${name}`)
  throw new BackupError('missing', `several backups have the number ${name}: name one by its id`)
}
