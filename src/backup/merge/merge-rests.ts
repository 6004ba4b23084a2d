import type { BackupDocument } from '../archive/documents.ts'
import { BackupFile } from '../archive/layout.ts'
import { forEachOf } from '../lanes.ts'
import { dropBackup } from '../remove/drop-backup.ts'
import { manifestNameOf, type ListedBackup, type Repository } from '../repository.ts'
import { abortUploadsBelow } from '../store/uploads-below.ts'

export interface RestsOptions {
  readonly repository: Repository
  readonly threads: number
  readonly signal: AbortSignal
  readonly report: (event: { readonly type: 'note'; readonly message: string }) => void
}

/**
 * Removes backups that others have taken up, newest first, so that those that are left can be restored;
 * before them whatever their data was merged from in the one that has it now.
 */
export async function finishMerges(
  options: RestsOptions,
  listed: readonly ListedBackup[],
): Promise<void> {
  const { repository, threads, signal, report } = options
  for (const { document } of listed) {
    const taken = listed.filter(({ id }) => document?.merged?.includes(id))
    if (!document || taken.length === 0) continue
    await sweepBackup(options, document)
    for (const { id } of taken.toReversed()) {
      report({ type: 'note', message: `removing ${id}, which ${document.id} has` })
      const prefix = repository.prefix(id)
      await dropBackup({ store: repository.store, prefix, threads, signal })
    }
  }
}

/** Removes what a merge has left in a backup that was to take up others, and did not. */
export async function sweepMerge(options: RestsOptions, document: BackupDocument): Promise<void> {
  const { store } = options.repository
  const journal = `${options.repository.prefix(document.id)}${BackupFile.merge}`
  if ((await store.size(journal)) === undefined) return
  const message = `removing what an interrupted merge has left in ${document.id}`
  options.report({ type: 'note', message })
  await sweepBackup(options, document)
}

/** Removes uploads, and objects that the manifest does not name; the journal of a merge last. */
async function sweepBackup(
  { repository, threads, signal }: RestsOptions,
  document: BackupDocument,
): Promise<void> {
  const { store } = repository
  const prefix = repository.prefix(document.id)
  const { objects } = await repository.manifest(document, undefined)
  const names = [...objects.map(object => object.key), manifestNameOf(document), BackupFile.backup]
  const own = new Set([...names, BackupFile.merge].map(name => `${prefix}${name}`))
  await abortUploadsBelow(store, prefix, threads)
  const strays: string[] = []
  for await (const { key } of store.list(prefix)) if (!own.has(key)) strays.push(key)
  await forEachOf(strays, threads, async stray => {
    signal.throwIfAborted()
    await store.remove(stray)
  })
  await store.remove(`${prefix}${BackupFile.merge}`)
}
