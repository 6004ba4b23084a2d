import { BackupFile } from '../archive/layout.ts'
import { forEachOf } from '../lanes.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { abortUploadsBelow } from '../store/uploads-below.ts'

export interface DropOptions {
  readonly store: ObjectStore
  /** Of everything that belongs to the backup; ends with a slash. */
  readonly prefix: string
  readonly threads: number
  readonly signal: AbortSignal
  /** Called after each object that is gone. */
  readonly removed?: (bytes: number) => void
}

/**
 * Removes a complete backup. With `backup.json` goes first what makes it complete: from then on
 * nobody takes what is left for a backup, nor, as there is no checkpoint, for one that could be gone on
 * with. Whoever finds such a rest calls this again.
 */
export async function dropBackup(options: DropOptions): Promise<void> {
  const { store, prefix, threads, signal, removed } = options
  await store.remove(`${prefix}${BackupFile.checkpoint}`)
  await store.remove(`${prefix}${BackupFile.backup}`)
  await abortUploadsBelow(store, prefix, threads)
  const objects = []
  for await (const object of store.list(prefix)) objects.push(object)
  await forEachOf(objects, threads, async ({ key, size }) => {
    signal.throwIfAborted()
    await store.remove(key)
    removed?.(size)
  })
}
