/**
 * Keeps a second daemon off a data directory: a file made exclusively that names its owner by
 * process id and start time, so that the file of a daemon that was killed is known to be stale.
 */
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { OperatorError } from '../errors.ts'
import { storageError } from './storage-error.ts'

export interface DataLock {
  /** Idempotent. */
  release(): void
}

/** Makes the directory if need be. Fails with an OperatorError when another daemon holds it. */
export function lockDataDirectory(directory: string): DataLock {
  const path = join(directory, 'LOCK')
  try {
    mkdirSync(directory, { recursive: true })
    if (!tryLock(path)) {
      const owner = ownerOf(path)
      if (owner !== undefined && isAlive(owner)) throw inUse(directory, owner.pid)
      unlinkSync(path)
      if (!tryLock(path)) throw inUse(directory, ownerOf(path)?.pid)
    }
  } catch (error) {
    throw storageError(error, directory)
  }
  let held = true
  return {
    release() {
      // The directory may have been removed under us; then there is nothing to free.
      if (held) rmSync(path, { force: true })
      held = false
    },
  }
}

interface Owner {
  pid: number
  startedAt: string
}

function inUse(directory: string, pid: number | undefined): OperatorError {
  return new OperatorError(
    'data-in-use',
    `${directory} is in use by another holdfastd${pid === undefined ? '' : `, process ${pid}`}`,
    'stop it, or give this one a directory of its own with --data',
  )
}

function tryLock(path: string): boolean {
  try {
    const file = openSync(path, 'wx', 0o644)
    writeSync(file, JSON.stringify({ pid: process.pid, startedAt: startTimeOf(process.pid) }))
    closeSync(file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function ownerOf(path: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Owner
  } catch {
    // Cut short by a crash, or just released: either way nobody's.
    return undefined
  }
}

function isAlive(owner: Owner): boolean {
  try {
    process.kill(owner.pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  return owner.startedAt === '' || startTimeOf(owner.pid) === owner.startedAt
}

/** Clock ticks since boot at which a process began, so that a reused id is not mistaken for it. */
function startTimeOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}
