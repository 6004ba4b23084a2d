/**
 * Keeps a second daemon off a data directory: a file that names its owner by process id and start
 * time, so that the file of a daemon that was killed is known to be stale.
 *
 * It is written beside and linked into place, so that it is whole from its first moment. A stale
 * one is removed by one process at a time, whose turn is a directory beside it.
 */
import {
  linkSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { OperatorError } from '../errors.ts'
import { storageError } from './storage-error.ts'

/** How often to look whether another process has removed a stale lock. */
const turnPollMs = 10
/** It takes no time: a turn this old is of a process that has died. */
const turnMaxMs = 5000

export interface DataLock {
  /** Idempotent. */
  release(): void
}

/** Makes the directory if need be. Fails with an OperatorError when another daemon holds it. */
export function lockDataDirectory(directory: string): DataLock {
  const path = join(directory, 'LOCK')
  try {
    mkdirSync(directory, { recursive: true })
    take(directory, path)
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

function take(directory: string, path: string): void {
  const own = `${path}.${process.pid}`
  const owner: Owner = { pid: process.pid, startedAt: startTimeOf(process.pid) }
  writeFileSync(own, JSON.stringify(owner))
  try {
    while (!tryLink(own, path)) {
      const holder = ownerOf(path)
      if (holder !== undefined && isAlive(holder)) throw inUse(directory, holder.pid)
      removeStale(path)
    }
  } finally {
    rmSync(own, { force: true })
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

/** False when there is a lock already. */
function tryLink(own: string, path: string): boolean {
  return succeeds(() => linkSync(own, path), 'EEXIST')
}

/**
 * Removes the lock if nobody alive holds it. One process does so at a time: while a lock is there
 * nobody else can put one in its place, so what was found stale is what is removed.
 */
function removeStale(path: string): void {
  const turn = `${path}.reclaim`
  if (!succeeds(() => mkdirSync(turn), 'EEXIST')) return awaitTurn(turn)
  try {
    const text = textOf(path)
    if (text === undefined) return
    const holder = parse(text)
    if (holder === undefined || !isAlive(holder)) unlinkSync(path)
  } finally {
    endTurn(turn)
  }
}

/** Another process is at it, or has died at it. */
function awaitTurn(turn: string): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, turnPollMs)
  const begun = statSync(turn, { throwIfNoEntry: false })?.mtimeMs ?? Infinity
  if (Date.now() - begun > turnMaxMs) endTurn(turn)
}

/** Unless somebody has taken it for one of a dead process and ended it. */
function endTurn(turn: string): void {
  succeeds(() => rmdirSync(turn), 'ENOENT')
}

/** False when it failed for the reason given. */
function succeeds(change: () => void, unless: string): boolean {
  try {
    change()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === unless) return false
    throw error
  }
}

function ownerOf(path: string): Owner | undefined {
  const text = textOf(path)
  // Just released, or damaged: either way nobody's.
  return text === undefined ? undefined : parse(text)
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function parse(text: string): Owner | undefined {
  try {
    return JSON.parse(text) as Owner
  } catch {
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
