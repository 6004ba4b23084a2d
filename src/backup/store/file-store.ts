import { createReadStream } from 'node:fs'
import { link, open, readdir, readFile, rename, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BackupError } from '../errors.ts'
import { FileUploads, uploadsFolder } from './file-uploads.ts'
import { FolderSyncs } from './folder-syncs.ts'
import type {
  ByteRange,
  ObjectStore,
  Part,
  PartContent,
  StoredObject,
  StoreLimits,
  Upload,
  UploadReference,
} from './object-store.ts'

const readBytes = 1024 * 1024
/** How often something is written when somebody takes it away each time. */
const attemptsMax = 10

/** An archive in a folder: an object is a file. Uploads are beside them, see `FileUploads`. */
export class FileStore implements ObjectStore {
  readonly url: string
  readonly limits: StoreLimits = {
    partBytesMin: 0,
    partBytesMax: Number.MAX_SAFE_INTEGER,
    partsMax: Number.MAX_SAFE_INTEGER,
  }
  readonly #root: string
  readonly #syncs = new FolderSyncs()
  readonly #uploads: FileUploads

  constructor(root: string) {
    this.#root = root
    this.url = root
    this.#uploads = new FileUploads(root, this.#syncs)
  }

  put(key: string, bytes: Uint8Array): Promise<void> {
    return this.#told(key, () =>
      this.#write(key, bytes, async (aside, path) => {
        await rename(aside, path)
        return undefined
      }),
    )
  }

  /**
   * This is how a lock is taken, and what is written once is made: who does it drops what others have
   * left beside their place, who were killed at it. One who is alive writes it again.
   */
  putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
    return this.#told(key, async () => {
      const isPut = await this.#write(key, bytes, async (aside, path) => {
        try {
          await link(aside, path)
          return true
        } catch (error) {
          if (codeOf(error) === 'EEXIST') return false
          throw error
        } finally {
          await rm(aside, { force: true })
        }
      })
      await this.#uploads.dropAsides(key)
      return isPut
    })
  }

  get(key: string): Promise<Buffer | undefined> {
    return this.#told(key, () => unlessMissing(readFile(this.#path(key))))
  }

  async *read(key: string, range?: ByteRange): AsyncGenerator<Buffer, void> {
    if (range && range.end <= range.start) return
    const bounds = range ? { start: range.start, end: range.end - 1 } : {}
    const stream = createReadStream(this.#path(key), { highWaterMark: readBytes, ...bounds })
    try {
      for await (const chunk of stream) yield chunk as Buffer
    } catch (error) {
      throw this.#failure(key, error)
    } finally {
      stream.destroy()
    }
  }

  async size(key: string): Promise<number | undefined> {
    const found = await this.#told(key, () => unlessMissing(stat(this.#path(key))))
    return found?.isFile() ? found.size : undefined
  }

  async modifiedMs(key: string): Promise<number | undefined> {
    return (await this.#told(key, () => unlessMissing(stat(this.#path(key)))))?.mtimeMs
  }

  remove(key: string): Promise<void> {
    return this.#told(key, async () => {
      const path = this.#path(key)
      await rm(path, { force: true })
      await this.#removeEmptyFolders(dirname(path))
    })
  }

  async *list(prefix: string): AsyncGenerator<StoredObject, void> {
    const folder = prefix === '' ? this.#root : this.#path(prefix.slice(0, -1))
    const entries = await this.#told(prefix, () =>
      unlessMissing(readdir(folder, { withFileTypes: true })),
    )
    // A folder stands where the slash behind its name puts it among keys.
    const named = (entries ?? []).map(entry => ({
      name: entry.isDirectory() ? `${entry.name}/` : entry.name,
      isFolder: entry.isDirectory(),
    }))
    named.sort((one, other) => (one.name < other.name ? -1 : 1))
    for (const { name, isFolder } of named) {
      const key = `${prefix}${name}`
      if (key === `${uploadsFolder}/`) continue
      if (isFolder) yield* this.list(key)
      else yield { key, size: (await this.size(key)) ?? 0 }
    }
  }

  async listFolders(prefix: string): Promise<string[]> {
    const folder = prefix === '' ? this.#root : this.#path(prefix.slice(0, -1))
    const entries = await this.#told(prefix, () =>
      unlessMissing(readdir(folder, { withFileTypes: true })),
    )
    return (entries ?? [])
      .filter(entry => entry.isDirectory() && `${prefix}${entry.name}` !== uploadsFolder)
      .map(entry => entry.name)
      .sort()
  }

  createUpload(key: string, token: string): Promise<Upload> {
    this.#path(key)
    return this.#told(key, () => this.#uploads.create(key, token))
  }

  putPart(upload: UploadReference, number: number, content: PartContent): Promise<Part> {
    return this.#told(upload.key, () => this.#uploads.put(upload, number, content))
  }

  copyPart(
    upload: UploadReference,
    number: number,
    sourceKey: string,
    range?: ByteRange,
  ): Promise<Part> {
    const source = this.read(sourceKey, range)
    return this.#told(upload.key, () => this.#uploads.copy(upload, number, source))
  }

  listParts(upload: UploadReference): Promise<Part[] | undefined> {
    return this.#told(upload.key, () => this.#uploads.parts(upload))
  }

  completeUpload(upload: Upload, parts: readonly Part[]): Promise<void> {
    const path = this.#path(upload.key)
    return this.#told(upload.key, () => this.#uploads.complete(upload, parts, path))
  }

  async isCompleted(upload: Upload, size: number): Promise<boolean> {
    if (await this.#told(upload.key, () => this.#uploads.hasBytes(upload))) return false
    return (await this.size(upload.key)) === size
  }

  abortUpload(upload: UploadReference): Promise<void> {
    return this.#told(upload.key, () => this.#uploads.abort(upload))
  }

  async *listUploads(prefix: string): AsyncGenerator<UploadReference, void> {
    for (const upload of await this.#told(prefix, () => this.#uploads.list()))
      if (upload.key.startsWith(prefix)) yield upload
  }

  async close(): Promise<void> {}

  /** A key is the path of the file below the root; one that leads elsewhere is none. */
  #path(key: string): string {
    const names = key.split('/')
    if (names.some(name => name === '' || name === '.' || name === '..' || name.includes('\0')))
      throw new BackupError('store', `${JSON.stringify(key)} is no key of an object`)
    return join(this.#root, ...names)
  }

  /** Writes the bytes beside the objects, and lets `place` bring them to their name. */
  async #write<T>(
    key: string,
    bytes: Uint8Array,
    place: (aside: string, path: string) => Promise<T>,
  ): Promise<T> {
    const path = this.#path(key)
    const folder = dirname(path)
    for (let attempt = 1; ; attempt++) {
      await this.#syncs.make(join(this.#root, uploadsFolder))
      await this.#syncs.make(folder)
      const aside = this.#uploads.aside(key)
      try {
        await writeNew(aside, bytes)
        const result = await place(aside, path)
        await this.#syncs.sync(folder)
        return result
      } catch (error) {
        await rm(aside, { force: true })
        // Somebody took it for what one who was killed has left, or removed the folder when it was empty.
        if (codeOf(error) !== 'ENOENT' || attempt === attemptsMax) throw error
      }
    }
  }

  async #removeEmptyFolders(folder: string): Promise<void> {
    let at = folder
    try {
      while (at.length > this.#root.length) {
        await rmdir(at)
        at = dirname(at)
      }
    } catch (error) {
      const code = codeOf(error)
      if (code !== 'ENOTEMPTY' && code !== 'ENOENT' && code !== 'EEXIST') throw error
    }
  }

  async #told<T>(key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw this.#failure(key, error)
    }
  }

  #failure(key: string, error: unknown): Error {
    if (error instanceof BackupError || codeOf(error) === undefined) return error as Error
    const message = `${join(this.#root, key)}: ${(error as Error).message}`
    const code = codeOf(error) === 'ENOENT' ? 'missing' : 'store'
    return new BackupError(code, message, { cause: error })
  }
}

async function writeNew(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'wx')
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

async function unlessMissing<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    const code = codeOf(error)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined
    throw error
  }
}
