import { createHash, randomUUID } from 'node:crypto'
import { BackupError } from '../../src/backup/errors.ts'
import type {
  ByteRange,
  ObjectStore,
  Part,
  PartContent,
  StoredObject,
  StoreLimits,
  Upload,
  UploadReference,
} from '../../src/backup/store/object-store.ts'

interface StoredBytes {
  readonly bytes: Buffer
  readonly modifiedMs: number
  readonly token?: string
}

interface OpenUpload {
  readonly key: string
  readonly token: string
  readonly parts: Map<number, { readonly part: Part; readonly bytes: Buffer }>
}

/**
 * A store in memory, as strict as S3, for properties that take thousands of archives. It passes the
 * suite that every store has to pass; what is shown with it is shown with a real one, too.
 */
export class MemoryStore implements ObjectStore {
  readonly url = 'memory://'
  readonly limits: StoreLimits
  readonly #objects = new Map<string, StoredBytes>()
  readonly #uploads = new Map<string, OpenUpload>()

  constructor(partBytesMin = 100) {
    this.limits = { partBytesMin, partBytesMax: 1000 * partBytesMin, partsMax: 10_000 }
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    this.#objects.set(key, { bytes: Buffer.from(bytes), modifiedMs: Date.now() })
  }

  async putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
    if (this.#objects.has(key)) return false
    await this.put(key, bytes)
    return true
  }

  async get(key: string): Promise<Buffer | undefined> {
    const found = this.#objects.get(key)
    return found && Buffer.from(found.bytes)
  }

  async *read(key: string, range?: ByteRange): AsyncGenerator<Buffer, void> {
    const found = this.#objects.get(key)
    if (!found) throw new BackupError('missing', `there is no ${key}`)
    yield Buffer.from(range ? found.bytes.subarray(range.start, range.end) : found.bytes)
  }

  async size(key: string): Promise<number | undefined> {
    return this.#objects.get(key)?.bytes.length
  }

  async modifiedMs(key: string): Promise<number | undefined> {
    return this.#objects.get(key)?.modifiedMs
  }

  async remove(key: string): Promise<void> {
    this.#objects.delete(key)
  }

  async *list(prefix: string): AsyncGenerator<StoredObject, void> {
    const keys = [...this.#objects.keys()].filter(key => key.startsWith(prefix)).sort()
    for (const key of keys) yield { key, size: this.#objects.get(key)!.bytes.length }
  }

  async listFolders(prefix: string): Promise<string[]> {
    const rests = [...this.#objects.keys()]
      .filter(key => key.startsWith(prefix))
      .map(key => key.slice(prefix.length).split('/'))
    const names = rests.filter(names => names.length > 1).map(([name]) => name!)
    return [...new Set(names)].sort()
  }

  async createUpload(key: string, token: string): Promise<Upload> {
    const id = randomUUID()
    this.#uploads.set(id, { key, token, parts: new Map() })
    return { key, id, token }
  }

  async putPart(upload: UploadReference, number: number, content: PartContent): Promise<Part> {
    return this.#add(upload, number, Buffer.concat(content.chunks, content.size))
  }

  async copyPart(
    upload: UploadReference,
    number: number,
    sourceKey: string,
    range?: ByteRange,
  ): Promise<Part> {
    const chunks: Buffer[] = []
    for await (const chunk of this.read(sourceKey, range)) chunks.push(chunk)
    return this.#add(upload, number, Buffer.concat(chunks))
  }

  async listParts(upload: UploadReference): Promise<Part[] | undefined> {
    const found = this.#find(upload)
    const parts = [...(found?.parts.values() ?? [])].map(({ part }) => part)
    return found && parts.sort((one, other) => one.number - other.number)
  }

  async completeUpload(upload: Upload, parts: readonly Part[]): Promise<void> {
    const { parts: known, token } = this.#expect(upload)
    const chosen = parts.map(({ number, etag }) => {
      const found = known.get(number)
      if (found?.part.etag !== etag) throw new BackupError('store', 'InvalidPart')
      return found.bytes
    })
    const isSmall = (bytes: Buffer) => bytes.length < this.limits.partBytesMin
    if (chosen.length === 0 || chosen.slice(0, -1).some(isSmall))
      throw new BackupError('store', 'EntityTooSmall')
    this.#objects.set(upload.key, {
      bytes: Buffer.concat(chosen),
      modifiedMs: Date.now(),
      token,
    })
    this.#uploads.delete(upload.id)
  }

  async isCompleted(upload: Upload, size: number): Promise<boolean> {
    const found = this.#objects.get(upload.key)
    return found?.token === upload.token && found.bytes.length === size
  }

  async abortUpload(upload: UploadReference): Promise<void> {
    this.#uploads.delete(upload.id)
  }

  async *listUploads(prefix: string): AsyncGenerator<UploadReference, void> {
    for (const [id, { key }] of this.#uploads) if (key.startsWith(prefix)) yield { key, id }
  }

  async close(): Promise<void> {}

  #add(upload: UploadReference, number: number, bytes: Buffer): Part {
    const etag = createHash('md5').update(bytes).digest('hex')
    const part = { number, size: bytes.length, etag }
    this.#expect(upload).parts.set(number, { part, bytes })
    return part
  }

  #find({ id, key }: UploadReference): OpenUpload | undefined {
    const found = this.#uploads.get(id)
    return found?.key === key ? found : undefined
  }

  #expect(upload: UploadReference): OpenUpload {
    const found = this.#find(upload)
    if (!found) throw new BackupError('missing', `${upload.key}: there is no such upload`)
    return found
  }
}
