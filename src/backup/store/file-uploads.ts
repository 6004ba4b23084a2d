import { createHash, randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { open, readdir, readFile, rename, stat, unlink, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BackupError } from '../errors.ts'
import { dropFromMemory } from './file-advice.ts'
import type { FolderSyncs } from './folder-syncs.ts'
import { readAll, writeAll } from './file-chunks.ts'
import {
  sizeOf,
  type Part,
  type PartContent,
  type Upload,
  type UploadReference,
} from './object-store.ts'
import { readUploadLog } from './upload-log.ts'

/** Below the archive's folder, in the same file system as the objects. */
export const uploadsFolder = '.uploads'

/** What is in the folder of uploads: the key of the object that it is for, a UUID, and its kind. */
const namePattern = /^(([^/]+)\.[0-9a-f-]{36})\.(data|log|tmp)$/

interface OpenUpload {
  readonly parts: Part[]
  readonly dataLength: number
}

/**
 * Uploads of an archive in a folder. An upload is a file or two, `ID` being `KEY.UUID`:
 *
 * ```
 * .uploads/ID.data  its parts, one behind the other; there from the beginning
 * .uploads/ID.log   a line for each part: NUMBER SIZE ETAG; or NUMBER alone: this part and those
 *                   behind it count no more. There from the first part on
 * .uploads/ID.tmp   what is written beside its place before it is brought there
 * ```
 *
 * A part counts when its line is whole, and that is written when its bytes are safe. To complete the
 * upload is to rename the first file: nothing is copied, however large it is. Each name tells the
 * object it is for, so that whatever a crash leaves can be listed and dropped, and nothing has to be
 * synced before there is a part: an upload without one, lost by a crash, has lost nothing.
 */
export class FileUploads {
  readonly #folder: string
  readonly #syncs: FolderSyncs

  constructor(root: string, syncs: FolderSyncs) {
    this.#folder = join(root, uploadsFolder)
    this.#syncs = syncs
  }

  async create(key: string, token: string): Promise<Upload> {
    const id = `${encodeURIComponent(key)}.${randomUUID()}`
    const path = this.#path(id, 'data')
    const make = () => open(path, 'wx')
    const data = await make().catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
      await this.#syncs.make(this.#folder)
      return await make()
    })
    await data.close()
    return { key, id, token }
  }

  put(upload: UploadReference, number: number, content: PartContent): Promise<Part> {
    return this.#append(upload, number, async (data, offset) => {
      await writeAll(data, content.chunks, offset)
      return { size: content.size, etag: content.sha256 }
    })
  }

  copy(upload: UploadReference, number: number, source: AsyncIterable<Buffer>): Promise<Part> {
    return this.#append(upload, number, async (data, offset) => {
      const hash = createHash('sha256')
      let size = 0
      for await (const chunk of source) {
        await writeAll(data, [chunk], offset + size)
        hash.update(chunk)
        size += chunk.length
      }
      return { size, etag: hash.digest('hex') }
    })
  }

  async parts(upload: UploadReference): Promise<Part[] | undefined> {
    return (await this.#find(upload))?.parts
  }

  async complete(upload: Upload, parts: readonly Part[], path: string): Promise<void> {
    const found = await this.#expect(upload)
    const fits =
      parts.length > 0 &&
      parts.length <= found.parts.length &&
      parts.every((part, index) => samePart(part, found.parts[index]!))
    if (!fits)
      throw new BackupError('store', `${upload.key}: these are not the parts of the upload`)
    const source = this.#path(upload.id, 'data')
    const size = sizeOf(parts)
    // Without anything behind its parts it is as they left it, and that is safe.
    if (found.dataLength !== size) await truncateAndSync(source, size)
    const folder = dirname(path)
    await rename(source, path).catch(async (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
      await this.#syncs.make(folder)
      await rename(source, path)
    })
    await this.#syncs.sync(folder)
    await removeFile(this.#path(upload.id, 'log'))
  }

  /** Whether it was neither completed nor dropped. */
  async hasBytes(upload: UploadReference): Promise<boolean> {
    return (await this.#dataLength(upload.id)) !== undefined
  }

  async abort({ id }: UploadReference): Promise<void> {
    if (namePattern.exec(id)?.[3] === 'tmp') return await removeFile(join(this.#folder, id))
    await removeFile(this.#path(id, 'data'))
    await removeFile(this.#path(id, 'log'))
  }

  /** Durable in that those it does not have would not be there after a crash. */
  async list(): Promise<UploadReference[]> {
    await this.#syncs.sync(this.#folder).catch(noFolder)
    const uploads = new Map<string, UploadReference>()
    for (const name of await readdir(this.#folder).catch(noFolder)) {
      const [, own, key, kind] = namePattern.exec(name) ?? []
      if (own === undefined || key === undefined) continue
      const id = kind === 'tmp' ? name : own
      uploads.set(id, { key: decodeURIComponent(key), id })
    }
    return [...uploads.values()].sort((one, other) => (one.key < other.key ? -1 : 1))
  }

  /** Where what is to become the object may be written first, in the folder of uploads. */
  aside(key: string): string {
    return join(this.#folder, `${encodeURIComponent(key)}.${randomUUID()}.tmp`)
  }

  /** Drops what lies beside the place of objects that are in the folder of this one, or above it. */
  async dropAsides(key: string): Promise<void> {
    for (const name of await readdir(this.#folder).catch(noFolder)) {
      const [, , other, kind] = namePattern.exec(name) ?? []
      if (kind !== 'tmp' || other === undefined) continue
      const folder = decodeURIComponent(other).replace(/[^/]+$/, '')
      if (key.startsWith(folder)) await removeFile(join(this.#folder, name))
    }
  }

  async #append(
    upload: UploadReference,
    number: number,
    write: (data: FileHandle, offset: number) => Promise<{ size: number; etag: string }>,
  ): Promise<Part> {
    const data = await open(this.#path(upload.id, 'data'), 'r+').catch(noUpload(upload))
    try {
      const log = await open(this.#path(upload.id, 'log'), constants.O_RDWR | constants.O_CREAT)
      try {
        return await this.#appendTo(data, log, { upload, number, write })
      } finally {
        await log.close()
      }
    } finally {
      await data.close()
    }
  }

  async #appendTo(
    data: FileHandle,
    log: FileHandle,
    {
      upload,
      number,
      write,
    }: {
      upload: UploadReference
      number: number
      write: (data: FileHandle, offset: number) => Promise<{ size: number; etag: string }>
    },
  ): Promise<Part> {
    const bytes = await readAll(log)
    const { parts, length } = readUploadLog(bytes)
    if (number < 1 || number > parts.length + 1)
      throw new BackupError('store', `${upload.key}: part ${number} after ${parts.length}`)
    // A line that a crash tore must not become part of the next one.
    if (length < bytes.length) await log.truncate(length)
    let line = ''
    if (number <= parts.length) {
      // Said before the first of its bytes is overwritten.
      line = `${number}\n`
      await log.write(line, length)
      await log.datasync()
    }
    const offset = sizeOf(parts.slice(0, number - 1))
    const written = await write(data, offset)
    await data.datasync()
    await dropFromMemory(data.fd, offset, written.size)
    const part = { number, ...written }
    await log.write(`${number} ${part.size} ${part.etag}\n`, length + line.length)
    await log.datasync()
    if (length === 0) await this.#syncs.sync(this.#folder)
    return part
  }

  async #expect(upload: UploadReference): Promise<OpenUpload> {
    return (await this.#find(upload)) ?? noUpload(upload)({ code: 'ENOENT' })
  }

  async #find({ id, key }: UploadReference): Promise<OpenUpload | undefined> {
    const dataLength = await this.#dataLength(id)
    if (dataLength === undefined || keyPartOf(id) !== encodeURIComponent(key)) return undefined
    const { parts } = readUploadLog(await readFile(this.#path(id, 'log')).catch(noFile))
    return { parts, dataLength }
  }

  async #dataLength(id: string): Promise<number | undefined> {
    try {
      return (await stat(this.#path(id, 'data'))).size
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  #path(id: string, kind: 'data' | 'log'): string {
    const name = `${id}.${kind}`
    if (!namePattern.test(name)) throw new BackupError('store', 'that is no id of an upload')
    return join(this.#folder, name)
  }
}

/** Of the id of an upload. */
function keyPartOf(id: string): string | undefined {
  return namePattern.exec(`${id}.data`)?.[2]
}

function samePart(one: Part, other: Part): boolean {
  return one.number === other.number && one.etag === other.etag
}

async function truncateAndSync(path: string, size: number): Promise<void> {
  const file = await open(path, 'r+')
  try {
    await file.truncate(size)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}

function noUpload({ key }: UploadReference) {
  return (error: { code?: string }): never => {
    if (error.code !== 'ENOENT') throw error
    throw new BackupError('missing', `${key}: there is no such upload`)
  }
}

function noFolder(error: NodeJS.ErrnoException): string[] {
  if (error.code === 'ENOENT') return []
  throw error
}

function noFile(error: NodeJS.ErrnoException): Buffer {
  if (error.code === 'ENOENT') return Buffer.alloc(0)
  throw error
}
