import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BackupError } from '../errors.ts'
import { FileStore } from './file-store.ts'
import type { ObjectStore } from './object-store.ts'

/** The store of an archive: `file:///path` or a path. */
export function openStore(url: string): ObjectStore {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase()
  if (scheme === undefined) return new FileStore(resolve(url))
  if (scheme !== 'file') throw new BackupError('format', `no store is known for ${scheme}://`)
  try {
    return new FileStore(fileURLToPath(url))
  } catch (cause) {
    throw new BackupError('format', `${url} is no path on this machine`, { cause })
  }
}
