/**
 * Writes an environment's file anew when most of it is free. LMDB takes free pages again, but never
 * gives them back to the file system; after a snapshot that was held for long under many updates, a
 * file may be many times what is in it. It happens at a start, before anybody has the file open, and
 * while it is served (online-compaction.ts): as long as little enough is in use that nobody waits for
 * long.
 *
 * The copy is made beside the file, counted, and renamed over it: a crash leaves one or the
 * other, whole. It is made by a process of its own, since LMDB ends the process when it comes to a
 * page that it cannot make sense of; what goes wrong there leaves the file as it was.
 */
import { execFile, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, symlinkSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { dataFileOf } from './data-file.ts'
import type { EnvironmentFigures } from './flusher-messages.ts'
import { MemoryAdvice } from './memory-advice.ts'
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

/** What a copy's folder begins with; each has its own, as one whose daemon was killed may still be written to. */
const copyPrefix = 'compacted-'
const program = join(import.meta.dirname, 'compaction-process.js')

/** Nobody may have the environment open. Resolves with why it did not work, if it did not. */
export async function compact(
  directory: string,
  { mapSizeBytes }: { readonly mapSizeBytes: number },
): Promise<string | undefined> {
  let copy: string | undefined
  try {
    copy = makeFolder(directory)
    await fillCopy(directory, copy, { mapSizeBytes })
    putCopyInPlace(directory, copy)
  } catch (error) {
    return (error as Error).message
  } finally {
    if (copy !== undefined) await forgetCopy(copy)
  }
  syncDirectory(directory)
  return undefined
}

export interface CopyOptions {
  readonly mapSizeBytes: number
  /** Gives it up. */
  readonly signal?: AbortSignal
  /** Large pieces of this process's memory. */
  readonly memory?: Iterable<SharedArrayBuffer>
}

/** A folder for a copy of an environment, beside its files: for `fillCopy` and, in any case, `forgetCopy`. */
export function makeFolder(directory: string): string {
  return mkdtempSync(join(directory, copyPrefix))
}

/**
 * Copies what is in use of an environment that nobody writes to meanwhile. Fails when that is not
 * possible, or when `signal` says so.
 */
export async function fillCopy(
  directory: string,
  copy: string,
  { mapSizeBytes, signal, memory }: CopyOptions,
): Promise<void> {
  const original = join(copy, 'original')
  mkdirSync(original)
  // With a lock of its own: by the one beside the file, whose users are told apart by process,
  // LMDB may take the environment for one that nobody else has open.
  symlinkSync(resolve(dataFileOf(directory)), dataFileOf(original))
  const parameters = [program, original, copy, String(mapSizeBytes), String(process.pid)]
  const options = { signal, killSignal: 'SIGKILL' as const }
  const start = () => promisify(execFile)(process.execPath, parameters, options)
  const advice = memory && (await adviceOrNone())
  const copying = advice ? advice.forkWithout(memory, start) : start()
  try {
    await copying
  } catch (error) {
    // As long as it lives, it makes files.
    await ended(copying.child)
    throw error
  }
}

/** Where the library does not run, a start takes longer. */
async function adviceOrNone(): Promise<MemoryAdvice | undefined> {
  if (process.platform !== 'linux') return undefined
  return MemoryAdvice.load().catch(() => undefined)
}

async function ended(child: ChildProcess): Promise<void> {
  const isRunning = child.exitCode === null && child.signalCode === null
  if (child.pid !== undefined && isRunning) await new Promise(done => child.once('exit', done))
}

/**
 * From here on the copy is the environment; when it fails, the environment is what it was. Sync the
 * directory before anything is written.
 */
export function putCopyInPlace(directory: string, copy: string): void {
  renameSync(dataFileOf(copy), dataFileOf(directory))
}

/** For those who have the copy open already, with its lock: others are to find the same one. */
export function putLockInPlace(directory: string, copy: string): void {
  renameSync(lockFileOf(copy), lockFileOf(directory))
}

/** Removes a copy's folder, put in place or not. */
export async function forgetCopy(copy: string): Promise<void> {
  // A process may be short of files for a while.
  await rm(copy, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 })
}

/** Removes what crashes have left of copies. */
export async function forgetCopies(directory: string): Promise<void> {
  // One that is missing is for others to tell.
  if (!existsSync(directory)) return
  for (const name of readdirSync(directory)) {
    if (name.startsWith(copyPrefix)) await forgetCopy(join(directory, name))
  }
}

function lockFileOf(directory: string): string {
  return join(directory, 'lock.mdb')
}
