import files from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { basename, sep } from 'node:path'
import type { ObjectStore } from '../../src/backup/store/object-store.ts'

/** Thrown by everything that a process which is gone would not do any more. */
export class Crashed extends Error {}

/**
 * The points at which a run may crash, in the order in which it comes to them: before and behind each
 * change of the archive, and when a file of the staging folder is begun, is written, has its name.
 */
export class CrashPoints {
  /** `NAME #N`: the Nth point of this name. */
  readonly passed: string[] = []
  readonly #counts = new Map<string, number>()
  readonly #at: string | undefined
  readonly #strike: () => void
  #isDead = false

  /** `strike` happens at the point `at`; unless it kills, the run goes on. */
  constructor(at?: string, strike: (points: CrashPoints) => void = points => points.die()) {
    this.#at = at
    this.#strike = () => strike(this)
  }

  get isDead(): boolean {
    return this.#isDead
  }

  /** From now on nothing is read or changed any more. */
  die(): void {
    this.#isDead = true
  }

  pass(name: string): void {
    this.check()
    const count = (this.#counts.get(name) ?? 0) + 1
    this.#counts.set(name, count)
    const point = `${name} #${count}`
    this.passed.push(point)
    if (point === this.#at) this.#strike()
    this.check()
  }

  check(): void {
    if (this.#isDead) throw new Crashed()
  }
}

const changes: ReadonlySet<string | symbol> = new Set<keyof ObjectStore>([
  'put',
  'putIfAbsent',
  'remove',
  'createUpload',
  'putPart',
  'copyPart',
  'completeUpload',
  'abortUpload',
])

/** The store as a run sees it that may crash. */
export function crashing(store: ObjectStore, points: CrashPoints): ObjectStore {
  return new Proxy(store, {
    get(target, name) {
      const found = Reflect.get(target, name, target) as unknown
      if (typeof found !== 'function') return found
      const method = found as (...words: unknown[]) => unknown
      if (!changes.has(name))
        return (...words: unknown[]) => {
          points.check()
          return method.apply(target, words)
        }
      return async (...words: unknown[]) => {
        const named = /[^/]+\.json$/.exec(String(words[0]))?.[0]
        const what = named === undefined ? '' : ` ${named}`
        points.pass(`${String(name)}${what}: before`)
        const result = await method.apply(target, words)
        points.pass(`${String(name)}${what}: done`)
        return result
      }
    },
  })
}

const watched = new Map<string, CrashPoints>()
const { open, rename, rm } = files

/** Has files below this folder pass the points of a run, too, until the function returned is called. */
export function watchFolder(folder: string, points: CrashPoints): () => void {
  watched.set(folder, points)
  return () => watched.delete(folder)
}

function pointsOf(path: unknown): CrashPoints | undefined {
  for (const [folder, points] of watched)
    if (String(path).startsWith(`${folder}${sep}`)) return points
  return undefined
}

const kindOf = (path: unknown): string => basename(String(path)).replace(/^(vb|pack)-\d+/, '$1')

files.open = async (path, flags, mode) => {
  if (flags === 'wx') pointsOf(path)?.pass('file: before')
  return await open(path, flags, mode)
}
files.rename = async (from, to) => {
  const points = pointsOf(to)
  points?.pass(`${kindOf(to)}: written`)
  await rename(from, to)
  points?.pass(`${kindOf(to)}: renamed`)
}
files.rm = async (path, options) => {
  const points = pointsOf(path)
  const name = /\.(json|tmp)$/.test(String(path)) ? kindOf(path) : 'folder'
  points?.pass(`rm ${name}: before`)
  await rm(path, options)
  points?.pass(`rm ${name}: done`)
}
syncBuiltinESMExports()
