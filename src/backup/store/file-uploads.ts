import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readdir, readFile, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BackupError } from '../errors.ts'
import type { FolderSyncs } from './folder-syncs.ts'
import type { Part, PartContent, Upload, UploadReference } from './object-store.ts'

/** Below the archive's folder, in the same file system as the objects. */
export const uploadsFolder = '.uploads'

const asidePattern = /^([^/]+)\.[0-9a-f-]{36}\.tmp$/

interface OpenUpload {
  readonly key: string
  readonly token: string
  readonly parts: Part[]
  /** Of the log's whole lines. */
  readonly logLength: number
}

/**
 * Uploads of an archive in a folder. An upload is two files:
 *
 * ```
 * .uploads/ID.data    its parts, one behind the other
 * .uploads/ID.log     {"key":…,"token":…}, then a line for each part: NUMBER SIZE ETAG;
 *                     or NUMBER alone: this part and those behind it count no more
 * .uploads/KEY.ID.tmp what is written beside its place before it is brought there
 * ```
 *
 * A part counts when its line is whole, and that is written when its bytes are safe. To complete the
 * upload is to rename the first file: nothing is copied, however large it is. What a crash left of
 * the third kind is listed and dropped as an upload is: its name tells the object it was to be.
 */
export class FileUploads {
  readonly #folder: string
  readonly #syncs: FolderSyncs

  constructor(root: string, syncs: FolderSyncs) {
    this.#folder = join(root, uploadsFolder)
    this.#syncs = syncs
  }

  async create(key: string, token: string): Promise<Upload> {
    const id = randomUUID()
    await mkdir(this.#folder, { recursive: true })
    // The log first, and whole: what a crash leaves behind can be listed, and dropped.
    const aside = this.aside(key)
    await writeAndSync(await open(aside, 'wx'), `${JSON.stringify({ key, token })}\n`)
    await rename(aside, this.#path(id, 'log'))
    const data = await open(this.#path(id, 'data'), 'wx')
    await data.close()
    await this.#syncs.sync(this.#folder)
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
    const data = await open(source, 'r+')
    try {
      await data.truncate(sizeOf(parts))
      await data.sync()
    } finally {
      await data.close()
    }
    const folder = dirname(path)
    const made = await mkdir(folder, { recursive: true })
    await rename(source, path)
    await this.#syncs.sync(folder)
    if (made !== undefined)
      for (let at = folder; at.length >= made.length; at = dirname(at))
        await this.#syncs.sync(dirname(at))
    await rm(this.#path(upload.id, 'log'), { force: true })
  }

  /** Whether it was neither completed nor dropped. */
  async hasBytes(upload: UploadReference): Promise<boolean> {
    return stat(this.#path(upload.id, 'data')).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return false
        throw error
      },
    )
  }

  async abort(upload: UploadReference): Promise<void> {
    if (asidePattern.test(upload.id)) {
      await rm(join(this.#folder, upload.id), { force: true })
      return
    }
    await rm(this.#path(upload.id, 'data'), { force: true })
    await rm(this.#path(upload.id, 'log'), { force: true })
  }

  async list(): Promise<UploadReference[]> {
    const uploads: UploadReference[] = []
    for (const name of await readdir(this.#folder).catch(noFolder)) {
      const aside = asidePattern.exec(name)?.[1]
      if (aside !== undefined) uploads.push({ key: decodeURIComponent(aside), id: name })
      if (!name.endsWith('.log')) continue
      const id = name.slice(0, -'.log'.length)
      const found = await this.#read(id)
      if (found) uploads.push({ key: found.key, id })
    }
    return uploads.sort((one, other) => (one.key < other.key ? -1 : 1))
  }

  /** Where what is to become the object may be written first, in the folder of uploads. */
  aside(key: string): string {
    return join(this.#folder, `${encodeURIComponent(key)}.${randomUUID()}.tmp`)
  }

  async #append(
    upload: UploadReference,
    number: number,
    write: (data: FileHandle, offset: number) => Promise<{ size: number; etag: string }>,
  ): Promise<Part> {
    const { parts, logLength } = await this.#expect(upload)
    if (number < 1 || number > parts.length + 1)
      throw new BackupError('store', `${upload.key}: part ${number} after ${parts.length}`)
    const log = await open(this.#path(upload.id, 'log'), 'r+')
    try {
      // A line that a crash tore must not become part of the next one.
      await log.truncate(logLength)
      let line = ''
      if (number <= parts.length) {
        // Said before the first of its bytes is overwritten.
        line = `${number}\n`
        await log.write(line, logLength)
        await log.datasync()
      }
      const offset = sizeOf(parts.slice(0, number - 1))
      const part = { number, ...(await this.#write(upload, offset, write)) }
      await log.write(`${number} ${part.size} ${part.etag}\n`, logLength + line.length)
      await log.datasync()
      return part
    } finally {
      await log.close()
    }
  }

  async #write<T>(
    upload: UploadReference,
    offset: number,
    write: (data: FileHandle, offset: number) => Promise<T>,
  ): Promise<T> {
    const data = await open(this.#path(upload.id, 'data'), 'r+')
    try {
      const written = await write(data, offset)
      await data.datasync()
      return written
    } finally {
      await data.close()
    }
  }

  async #expect(upload: UploadReference): Promise<OpenUpload> {
    const found = await this.#find(upload)
    if (!found) throw new BackupError('missing', `${upload.key}: there is no such upload`)
    return found
  }

  async #find({ id, key }: UploadReference): Promise<OpenUpload | undefined> {
    const found = (await this.hasBytes({ id, key })) ? await this.#read(id) : undefined
    return found?.key === key ? found : undefined
  }

  async #read(id: string): Promise<OpenUpload | undefined> {
    const text = await readFile(this.#path(id, 'log'), 'utf8').catch(noFile)
    // What is behind the last line end was being written when a crash came.
    const whole = text.slice(0, text.lastIndexOf('\n') + 1)
    const lines = whole.split('\n').slice(0, -1)
    const head = lines.shift()
    if (head === undefined) return undefined
    const { key, token } = JSON.parse(head) as { key: string; token: string }
    const parts: Part[] = []
    for (const line of lines) {
      const [number, size, etag] = line.split(' ')
      parts.length = Number(number) - 1
      if (etag !== undefined) parts.push({ number: Number(number), size: Number(size), etag })
    }
    return { key, token, parts, logLength: Buffer.byteLength(whole) }
  }

  #path(id: string, kind: 'data' | 'log'): string {
    if (!/^[0-9a-f-]{36}$/.test(id)) throw new BackupError('store', 'that is no id of an upload')
    return join(this.#folder, `${id}.${kind}`)
  }
}

function sizeOf(parts: readonly Part[]): number {
  return parts.reduce((sum, { size }) => sum + size, 0)
}

function samePart(one: Part, other: Part): boolean {
  return one.number === other.number && one.etag === other.etag
}

async function writeAndSync(file: FileHandle, text: string): Promise<void> {
  try {
    await file.writeFile(text)
    await file.datasync()
  } finally {
    await file.close()
  }
}

/** More buffers than that the system does not take in one call. */
const buffersMax = 512

async function writeAll(
  file: FileHandle,
  chunks: readonly Buffer[],
  offset: number,
): Promise<void> {
  let position = offset
  let rest = chunks.filter(chunk => chunk.length > 0)
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest.slice(0, buffersMax), position)
    position += bytesWritten
    rest = behind(rest, bytesWritten)
  }
}

/** What is left of the chunks after so many bytes of them. */
function behind(chunks: readonly Buffer[], bytes: number): Buffer[] {
  let left = bytes
  let index = 0
  while (index < chunks.length && left >= chunks[index]!.length) left -= chunks[index++]!.length
  const rest = chunks.slice(index)
  if (left > 0) rest[0] = rest[0]!.subarray(left)
  return rest
}

function noFolder(error: NodeJS.ErrnoException): string[] {
  if (error.code === 'ENOENT') return []
  throw error
}

function noFile(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return ''
  throw error
}
