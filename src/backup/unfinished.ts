import { decodeDocument } from './archive/documents.ts'
import { BackupFile } from './archive/layout.ts'
import type { ListedBackup, Repository } from './repository.ts'
import { checkpointSchema } from './run/journal.ts'

/** Unfinished backups that would continue one of these; of which nobody can tell, they might. */
export async function unfinishedBehind(
  repository: Repository,
  listed: readonly ListedBackup[],
  ids: ReadonlySet<string>,
): Promise<string[]> {
  const found: string[] = []
  for (const { id, state } of listed) {
    if (state !== 'unfinished') continue
    const key = `${repository.prefix(id)}${BackupFile.checkpoint}`
    const bytes = await repository.store.get(key)
    if (bytes && mayContinue(bytes, key, ids)) found.push(id)
  }
  return found
}

function mayContinue(bytes: Uint8Array, key: string, ids: ReadonlySet<string>): boolean {
  try {
    const { previous } = decodeDocument(checkpointSchema, bytes, key).plan
    return previous !== undefined && ids.has(previous)
  } catch {
    return ids.size > 0
  }
}
