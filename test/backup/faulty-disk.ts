import { randomUUID } from 'node:crypto'
import * as now from 'node:fs'
import files, { type FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { basename, dirname, join, sep } from 'node:path'
import type { CrashPoints } from './crash-points.ts'

/** A change of names that is not durable yet. */
interface NameChange {
  /** Whichever of them is synced makes it durable. */
  readonly folders: readonly string[]
  readonly undo: () => void
}

/**
 * Folders on a disk whose power may be cut. It is as unkind as POSIX allows: bytes that were not synced are
 * lost, and so is every name that was made, changed or removed in a folder that was not synced since. Only
 * a rename is done wholly or not at all, as file systems with a journal have it.
 *
 * Each change is a point at which a run may crash: in front of it nothing of it has happened.
 */
export class FaultyDisk {
  readonly #folders: readonly string[]
  readonly #points: CrashPoints
  /** What power would leave of files with bytes that were not synced. */
  readonly #durable = new Map<string, Buffer>()
  #names: NameChange[] = []

  constructor(folders: readonly string[], points: CrashPoints) {
    this.#folders = folders
    this.#points = points
    disks.add(this)
  }

  has(path: unknown): boolean {
    return this.#folders.some(
      folder => path === folder || String(path).startsWith(`${folder}${sep}`),
    )
  }

  /** No change is seen any more. */
  unmount(): void {
    disks.delete(this)
  }

  /** Takes away what was not synced. */
  cutPower(): void {
    this.unmount()
    for (const [path, bytes] of this.#durable)
      if (now.existsSync(path)) now.writeFileSync(path, bytes)
    for (const { undo } of this.#names.toReversed()) undo()
  }

  pass(what: string, path: string): void {
    this.#points.pass(`${what} ${kindOf(path)}`)
  }

  willWrite(path: string): void {
    if (!this.#durable.has(path)) this.#durable.set(path, now.readFileSync(path))
  }

  async sync<T>(path: string, work: () => Promise<T>): Promise<T> {
    const covered = new Set(this.#names.filter(({ folders }) => folders.includes(path)))
    const result = await work()
    this.#durable.delete(path)
    this.#names = this.#names.filter(change => !covered.has(change))
    return result
  }

  made(path: string): void {
    const undo = () => now.rmSync(path, { recursive: true, force: true })
    this.#names.push({ folders: [dirname(path)], undo })
  }

  /** To be told before it is done. */
  willRename(from: string, to: string): void {
    const old = now.existsSync(to) ? this.#durableBytes(to) : undefined
    const bytes = this.#durable.get(from)
    this.#durable.delete(to)
    if (bytes) this.#durable.set(to, bytes)
    this.#durable.delete(from)
    const undo = () => {
      if (now.existsSync(to)) now.renameSync(to, from)
      if (old) now.writeFileSync(to, old)
    }
    this.#names.push({ folders: [dirname(from), dirname(to)], undo })
  }

  /** To be told before it is done. */
  willRemove(path: string): void {
    if (!now.existsSync(path)) return
    const isFolder = now.statSync(path).isDirectory()
    const kept = join(dirname(this.#folders[0]!), `.kept-${randomUUID()}`)
    if (isFolder) now.cpSync(path, kept, { recursive: true })
    else now.writeFileSync(kept, this.#durableBytes(path))
    this.#durable.delete(path)
    const undo = () => now.cpSync(kept, path, { recursive: true })
    this.#names.push({ folders: [dirname(path)], undo })
  }

  #durableBytes(path: string): Buffer {
    return this.#durable.get(path) ?? now.readFileSync(path)
  }
}

const disks = new Set<FaultyDisk>()
const { open, rename, link, unlink, rm, rmdir, mkdir } = files

function diskOf(path: unknown): FaultyDisk | undefined {
  for (const disk of disks) if (disk.has(path)) return disk
  return undefined
}

/** A file by what it is for: names that differ from run to run are alike. */
function kindOf(path: string): string {
  const name = basename(path)
  const ending = /\.(data|log|tmp)$/.exec(name)?.[1]
  if (ending !== undefined) return ending
  if (/^(pack-)?\d{4}$/.test(name)) return 'object'
  return name.endsWith('.json') ? name.replace(/^(vb|pack)-\d+/, '$1') : 'folder'
}

const writes: ReadonlySet<string | symbol> = new Set(['write', 'writev', 'writeFile', 'truncate'])
const syncs: ReadonlySet<string | symbol> = new Set(['sync', 'datasync'])

function watched(handle: FileHandle, path: string, disk: FaultyDisk): FileHandle {
  return new Proxy(handle, {
    get(target, name) {
      const found = Reflect.get(target, name, target) as unknown
      if (typeof found !== 'function') return found
      const method = (found as (...words: unknown[]) => Promise<unknown>).bind(target)
      if (writes.has(name))
        return async (...words: unknown[]) => {
          disk.pass(String(name), path)
          disk.willWrite(path)
          return await method(...words)
        }
      if (syncs.has(name))
        return async () => {
          disk.pass('sync', path)
          return await disk.sync(path, () => method())
        }
      return method
    },
  })
}

files.open = async (path, flags, mode) => {
  const disk = diskOf(path)
  if (!disk) return await open(path, flags, mode)
  const isNew = !now.existsSync(path as string)
  if (isNew) disk.pass('make', path as string)
  if (!isNew && flags === 'w') disk.willWrite(path as string)
  const handle = await open(path, flags, mode)
  if (isNew) disk.made(path as string)
  return watched(handle, path as string, disk)
}
files.rename = async (from, to) => {
  const disk = diskOf(to)
  disk?.pass('rename', to as string)
  if (disk && now.existsSync(from)) disk.willRename(from as string, to as string)
  await rename(from, to)
}
files.link = async (from, to) => {
  const disk = diskOf(to)
  disk?.pass('link', to as string)
  await link(from, to)
  disk?.made(to as string)
}
const removing =
  <Words extends unknown[]>(remove: (path: string, ...words: Words) => Promise<void>) =>
  async (path: unknown, ...words: Words) => {
    const disk = diskOf(path)
    disk?.pass('remove', path as string)
    disk?.willRemove(path as string)
    await remove(path as string, ...words)
  }
files.unlink = removing(unlink)
files.rm = removing(rm)
// Of a folder that is not empty nothing is removed.
files.rmdir = async (path, ...words) => {
  const disk = diskOf(path)
  const isEmpty = disk && now.existsSync(path) && now.readdirSync(path).length === 0
  if (isEmpty) {
    disk.pass('remove', path as string)
    disk.willRemove(path as string)
  }
  await rmdir(path, ...words)
}
const makeFolder = mkdir as (path: string, options?: object) => Promise<string | undefined>
files.mkdir = (async (path: string, options?: object) => {
  const disk = diskOf(path)
  if (!disk) return await makeFolder(path, options)
  const isNew = !now.existsSync(path)
  if (isNew) disk.pass('make', path)
  const first = (await makeFolder(path, options)) ?? (isNew ? path : undefined)
  // The innermost last, so that its undoing comes first.
  const made: string[] = []
  if (first !== undefined)
    for (let at = path; at.length >= first.length; at = dirname(at)) made.unshift(at)
  for (const folder of made) if (disk.has(folder)) disk.made(folder)
  return first
}) as typeof files.mkdir
syncBuiltinESMExports()
