/**
 * Writes an environment's file anew when most of it is free. LMDB takes free pages again, but never
 * gives them back to the file system; after a snapshot that was held for long under many updates, a
 * file may be many times what is in it. It happens at a start, before anybody has the file open, and
 * while little enough is in use that the start does not wait for long.
 *
 * The copy is made beside the file, counted, and renamed over it: a crash leaves one or the
 * other, whole. It is made by a process of its own, since LMDB ends the process when it comes to a
 * page that it cannot make sense of; what goes wrong there leaves the file as it was.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { dataFileOf } from './data-file.ts'
import type { EnvironmentFigures } from './flusher-messages.ts'
import { syncDirectory } from './sync-directory.ts'

/** Less is not worth a copy. */
const freeBytesMin = 16 * 2 ** 20

/** What became of a file that was mostly free. */
export interface Compaction {
  readonly directory: string
  readonly allocatedBytes: number
  readonly liveBytes: number
  /** Why it is as it was; undefined when it was written anew. */
  readonly failure: string | undefined
}

/** Whether most of a file is free, and `liveBytesMax` allows for what is not. */
export function isMostlyFree(
  { allocatedBytes, liveBytes }: EnvironmentFigures,
  liveBytesMax: number,
): boolean {
  const freeBytes = allocatedBytes - liveBytes
  return freeBytes >= freeBytesMin && freeBytes > liveBytes && liveBytes <= liveBytesMax
}

const program = join(import.meta.dirname, 'compaction-process.js')

/** Nobody may have the environment open. Resolves with why it did not work, if it did not. */
export async function compact(
  directory: string,
  { mapSizeBytes }: { readonly mapSizeBytes: number },
): Promise<string | undefined> {
  const copy = copyIn(directory)
  try {
    forgetCopy(directory)
    mkdirSync(copy)
    await promisify(execFile)(process.execPath, [program, directory, copy, String(mapSizeBytes)])
    renameSync(dataFileOf(copy), dataFileOf(directory))
    syncDirectory(directory)
    return undefined
  } catch (error) {
    return (error as Error).message
  } finally {
    forgetCopy(directory)
  }
}

/** Removes what a crash has left of a copy. */
export function forgetCopy(directory: string): void {
  rmSync(copyIn(directory), { recursive: true, force: true })
}

function copyIn(directory: string): string {
  return join(directory, 'compacted')
}
