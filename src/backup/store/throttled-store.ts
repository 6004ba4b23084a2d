import { setMaxListeners } from 'node:events'
import { BackupError } from '../errors.ts'
import type { Throttle } from '../throttle.ts'
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

/**
 * A store to and from which only so many bytes a second go: the bytes of objects, not those of
 * the requests around them. A part goes as a whole when its turn has come. Documents are counted,
 * but do not wait: the heartbeat of a lock must not come late because parts go slowly.
 */
export class ThrottledStore implements ObjectStore {
  readonly url: string
  readonly limits: StoreLimits
  readonly #store: ObjectStore
  readonly #bytes: Throttle
  readonly #closing = new AbortController()

  constructor(store: ObjectStore, bytes: Throttle) {
    this.url = store.url
    this.limits = store.limits
    this.#store = store
    this.#bytes = bytes
    // One for each part that waits for its turn.
    setMaxListeners(0, this.#closing.signal)
  }

  put(key: string, bytes: Uint8Array): Promise<void> {
    this.#bytes.charge(bytes.length)
    return this.#store.put(key, bytes)
  }

  putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
    this.#bytes.charge(bytes.length)
    return this.#store.putIfAbsent(key, bytes)
  }

  async get(key: string): Promise<Buffer | undefined> {
    const bytes = await this.#store.get(key)
    if (bytes) this.#bytes.charge(bytes.length)
    return bytes
  }

  async *read(key: string, range?: ByteRange): AsyncGenerator<Buffer, void> {
    for await (const chunk of this.#store.read(key, range)) {
      await this.#take(chunk.length)
      yield chunk
    }
  }

  size(key: string): Promise<number | undefined> {
    return this.#store.size(key)
  }

  modifiedMs(key: string): Promise<number | undefined> {
    return this.#store.modifiedMs(key)
  }

  remove(key: string): Promise<void> {
    return this.#store.remove(key)
  }

  list(prefix: string): AsyncIterable<StoredObject> {
    return this.#store.list(prefix)
  }

  listFolders(prefix: string): Promise<string[]> {
    return this.#store.listFolders(prefix)
  }

  createUpload(key: string, token: string): Promise<Upload> {
    return this.#store.createUpload(key, token)
  }

  async putPart(upload: UploadReference, number: number, content: PartContent): Promise<Part> {
    await this.#take(content.size)
    return await this.#store.putPart(upload, number, content)
  }

  copyPart(
    upload: UploadReference,
    number: number,
    sourceKey: string,
    range?: ByteRange,
  ): Promise<Part> {
    return this.#store.copyPart(upload, number, sourceKey, range)
  }

  listParts(upload: UploadReference): Promise<Part[] | undefined> {
    return this.#store.listParts(upload)
  }

  completeUpload(upload: Upload, parts: readonly Part[]): Promise<void> {
    return this.#store.completeUpload(upload, parts)
  }

  isCompleted(upload: Upload, size: number): Promise<boolean> {
    return this.#store.isCompleted(upload, size)
  }

  abortUpload(upload: UploadReference): Promise<void> {
    return this.#store.abortUpload(upload)
  }

  listUploads(prefix: string): AsyncIterable<UploadReference> {
    return this.#store.listUploads(prefix)
  }

  async close(): Promise<void> {
    this.#closing.abort(new BackupError('interrupted', 'the archive was closed'))
    await this.#store.close()
  }

  #take(bytes: number): Promise<void> {
    return this.#bytes.take(bytes, this.#closing.signal)
  }
}
