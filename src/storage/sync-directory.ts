import { closeSync, fsyncSync, openSync } from 'node:fs'

/** Makes the names in a directory survive a power failure. */
export function syncDirectory(path: string): void {
  const directory = openSync(path, 'r')
  fsyncSync(directory)
  closeSync(directory)
}
