import { clientClock } from '../../client/client-clock.ts'
import type { Clock } from '../../clock.ts'
import { backupNamed, backupsIn, dependentsOf, type BackupRange } from '../chain.ts'
import { BackupError } from '../errors.ts'
import { whileLocked, type LockedWork } from '../locked-work.ts'
import { finishMerges } from '../merge/merge-rests.ts'
import { Repository, type ListedBackup } from '../repository.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { unfinishedBehind } from '../unfinished.ts'
import { dropBackup } from './drop-backup.ts'

export interface RemoveOptions {
  store: ObjectStore
  repository: string
  /** One backup, by id or number; or a range of them. */
  selection: { readonly backup: string } | BackupRange
  /** Also if others continue what is removed, and cannot be restored then. */
  breakChain?: boolean
  /** Tells what would be removed, and leaves it there. */
  dryRun?: boolean
  lockTimeoutMs?: number
  threads?: number
  signal: AbortSignal
  report: (event: RemoveEvent) => void
  clock?: Clock
}

export type RemoveEvent =
  /** `rest`: of a removal that did not come to its end. */
  | { readonly type: 'backup'; readonly id: string; readonly kind: 'backup' | 'rest' }
  | { readonly type: 'note'; readonly message: string }
  | { readonly type: 'progress'; readonly objects: number; readonly bytes: number }

export interface RemoveResult {
  /** Newest first, as they are removed. */
  backups: string[]
  objects: number
  bytes: number
  /** Those that cannot be restored any more; empty without `breakChain`. */
  broken: string[]
}

const defaultThreads = 8

/**
 * Removes backups. One that others continue is left where it is, unless told otherwise. What goes
 * goes newest first, so that whenever it is interrupted, what is still there is whole.
 */
export async function remove(options: RemoveOptions): Promise<RemoveResult> {
  const { store, signal, lockTimeoutMs = 0, clock = clientClock } = options
  const repository = await Repository.open(store, options.repository)
  const lock = { store, repository: repository.name, clock, timeoutMs: lockTimeoutMs, signal }
  return await whileLocked({ ...lock, work: 'remove' }, locked =>
    removeLocked(options, repository, locked),
  )
}

async function removeLocked(
  options: RemoveOptions,
  repository: Repository,
  { signal, verifyLock }: LockedWork,
): Promise<RemoveResult> {
  const { store, threads = defaultThreads, report, dryRun = false } = options
  if (!dryRun)
    await finishMerges({ repository, threads, signal, report }, await repository.backups())
  const listed = await repository.backups()
  const chosen = chosenOf(listed, options)
  const ids = new Set(chosen.map(({ id }) => id))
  const complete = listed.flatMap(({ document }) => document ?? [])
  const broken = dependentsOf(complete, ids).map(({ id }) => id)
  broken.push(...(await unfinishedBehind(repository, listed, ids)))
  if (broken.length > 0 && !options.breakChain)
    throw new BackupError(
      'chain',
      `${broken.join(', ')} could not be restored any more: remove them, too, or merge; or --break-chain`,
    )
  const rests = listed.filter(({ id, state }) => state === 'removed' && !ids.has(id))
  const result: RemoveResult = { backups: [], objects: 0, bytes: 0, broken }
  for (const { id, state } of [...rests, ...chosen.toReversed()]) {
    report({ type: 'backup', id, kind: state === 'removed' ? 'rest' : 'backup' })
    if (!dryRun) {
      signal.throwIfAborted()
      await verifyLock()
      const prefix = repository.prefix(id)
      const removed = (bytes: number) => {
        result.objects++
        result.bytes += bytes
        report({ type: 'progress', objects: result.objects, bytes: result.bytes })
      }
      await dropBackup({ store, prefix, threads, signal, removed })
    }
    result.backups.push(id)
  }
  return result
}

function chosenOf(listed: readonly ListedBackup[], { selection }: RemoveOptions): ListedBackup[] {
  if (!('backup' in selection)) return backupsIn(listed, selection)
  const found = backupNamed(listed, selection.backup)
  if (found.state === 'unfinished')
    throw new BackupError(
      'unfinished',
      `backup ${found.id} is unfinished: backup --resume goes on with it, --purge drops it`,
    )
  return [found]
}
