/**
 * The bucket's manifest of collections, in a file of its own: it is about all environments, and a
 * change of it is on disk before any vbucket is told. What of that a crash prevented, the next
 * start makes good.
 */
import { readFileSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { storageError, storeDamaged } from './storage-error.ts'
import { syncDirectory } from './sync-directory.ts'

export function manifestPath(directory: string): string {
  return join(directory, 'collections.json')
}

/** Written beside, synced, renamed: there is always one whole manifest. */
export async function writeManifest(directory: string, manifest: object): Promise<void> {
  const path = manifestPath(directory)
  try {
    const file = await open(`${path}.new`, 'w', 0o644)
    try {
      await file.writeFile(`${JSON.stringify(manifest)}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(`${path}.new`, path)
    syncDirectory(dirname(path))
  } catch (error) {
    throw storageError(error, directory)
  }
}

/** `read` makes of the JSON what it is to be, or throws. */
export function readManifest<Value>(directory: string, read: (json: unknown) => Value): Value {
  const path = manifestPath(directory)
  try {
    return read(JSON.parse(readFileSync(path, 'utf8')))
  } catch (cause) {
    throw storeDamaged(`${path} cannot be read: ${(cause as Error).message}`, cause)
  }
}
