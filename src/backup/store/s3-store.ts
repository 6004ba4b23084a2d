import { createHash } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { BackupError } from '../errors.ts'
import { SpareMemory } from '../spare-memory.ts'
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
import { demanded, S3Connection, type S3Options } from './s3-connection.ts'
import { objectPages, partPages, uploadPages } from './s3-lists.ts'
import { asBackupError, isMissing, mayPass, statusOf } from './s3-errors.ts'

const mebibyte = 1024 * 1024
const readAttemptsMax = 6
const tokenName = 'holdfast-token'
const abortRoundsMax = 5

/**
 * An archive in S3, or in what speaks as S3 does. Of what servers do differently nothing is relied
 * upon: bodies are whole buffers with their Content-MD5, further checksums are left out where they
 * are not demanded, objects are removed one by one, and lists end when they bring nothing new.
 */
export class S3Store implements ObjectStore {
  readonly url: string
  readonly limits: StoreLimits = {
    partBytesMin: 5 * mebibyte,
    partBytesMax: 5 * 1024 * mebibyte,
    partsMax: 10_000,
  }
  readonly #bucket: string
  /** Ends with a slash, or is empty. */
  readonly #prefix: string
  /** Not freed by force: of an attempt that was given up, the system may still have to write some. */
  readonly #spareBodies = new SpareMemory(16 * 1024 * 1024, () => {})
  readonly #connection: S3Connection

  /** `prefix` is what stands behind the bucket in the URL. */
  constructor(bucket: string, prefix: string, options: S3Options = {}) {
    this.url = `s3://${bucket}/${prefix}`
    this.#bucket = bucket
    this.#prefix = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`
    this.#connection = new S3Connection(options)
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    await this.#told(key, () => this.#put(key, bytes))
  }

  /**
   * Where the store does not know the condition, it is asked before and looked at after: good enough
   * for two people, and a lock is looked at again before anything is made complete.
   */
  putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean> {
    return this.#told(key, async () => {
      if ((await this.#head(key)) !== undefined) return false
      try {
        await this.#put(key, bytes, '*')
      } catch (error) {
        const status = statusOf(error)
        if (status === 501) await this.#put(key, bytes)
        // What is there may be ours: of an attempt whose answer was lost.
        else if (status !== 412 && status !== 409) throw error
      }
      return (await this.get(key))?.equals(bytes) ?? false
    })
  }

  get(key: string): Promise<Buffer | undefined> {
    return this.#taken(key, () => this.#get(key))
  }

  /** A connection that is lost on the way is followed by another one, from there on. */
  async *read(key: string, range?: ByteRange): AsyncGenerator<Buffer, void> {
    let at = range?.start ?? 0
    const end = range?.end ?? (await this.size(key))
    if (end === undefined) throw new BackupError('missing', `${this.url}: there is no ${key}`)
    let failure: unknown
    for (let attempt = 0; at < end; attempt++) {
      if (attempt > readAttemptsMax) throw this.#failure(key, failure ?? new Error('it ends early'))
      try {
        const Range = `bytes=${at}-${end - 1}`
        const { Body } = await this.#connection.send(
          new GetObjectCommand({ ...this.#at(key), Range }),
        )
        for await (const chunk of Body as AsyncIterable<Buffer>) {
          at += chunk.length
          attempt = 0
          yield chunk
        }
      } catch (error) {
        if (!mayPass(error) || this.#connection.isClosed) throw this.#failure(key, error)
        failure = error
      }
    }
  }

  size(key: string): Promise<number | undefined> {
    return this.#told(key, async () => (await this.#head(key))?.ContentLength)
  }

  modifiedMs(key: string): Promise<number | undefined> {
    return this.#told(key, async () => (await this.#head(key))?.LastModified?.getTime())
  }

  async remove(key: string): Promise<void> {
    await this.#told(key, () => this.#connection.send(new DeleteObjectCommand(this.#at(key))))
  }

  async *list(prefix: string): AsyncGenerator<StoredObject, void> {
    for await (const { Contents = [] } of this.#pages(prefix))
      for (const { Key, Size } of Contents)
        yield { key: Key!.slice(this.#prefix.length), size: Size ?? 0 }
  }

  async listFolders(prefix: string): Promise<string[]> {
    const names: string[] = []
    const start = this.#prefix.length + prefix.length
    for await (const { CommonPrefixes = [] } of this.#pages(prefix, '/'))
      for (const { Prefix } of CommonPrefixes) names.push(Prefix!.slice(start, -1))
    return names
  }

  createUpload(key: string, token: string): Promise<Upload> {
    const request = { ...this.#at(key), Metadata: { [tokenName]: token } }
    return this.#taken(key, async () => {
      const { UploadId } = await this.#connection.send(new CreateMultipartUploadCommand(request))
      return { key, id: demanded(UploadId, 'the id of an upload'), token }
    })
  }

  putPart(upload: UploadReference, number: number, content: PartContent): Promise<Part> {
    const Body = this.#bodyOf(content)
    const request = {
      ...this.#of(upload),
      PartNumber: number,
      Body,
      ContentLength: Body.length,
      ContentMD5: md5Of(Body),
    }
    return this.#taken(upload.key, async () => {
      const { ETag } = await this.#connection.send(new UploadPartCommand(request))
      // The store has all of it: nothing is sent of it any more. What has failed is not used again.
      this.#spareBodies.give(Body)
      return { number, size: content.size, etag: etagOf(ETag) }
    })
  }

  copyPart(
    upload: UploadReference,
    number: number,
    sourceKey: string,
    range?: ByteRange,
  ): Promise<Part> {
    return this.#taken(upload.key, async () => {
      const path = `${this.#bucket}/${this.#prefix}${sourceKey}`
      const size = range ? range.end - range.start : (await this.#head(sourceKey))?.ContentLength
      const { CopyPartResult } = await this.#connection.send(
        new UploadPartCopyCommand({
          ...this.#of(upload),
          PartNumber: number,
          CopySource: path.split('/').map(encodeURIComponent).join('/'),
          ...(range ? { CopySourceRange: `bytes=${range.start}-${range.end - 1}` } : {}),
        }),
      )
      return { number, size: size ?? 0, etag: etagOf(CopyPartResult?.ETag) }
    })
  }

  listParts(upload: UploadReference): Promise<Part[] | undefined> {
    return this.#told(upload.key, async () => {
      const parts: Part[] = []
      try {
        for await (const page of partPages(this.#connection.send, this.#of(upload)))
          for (const { PartNumber, Size, ETag } of page)
            parts.push({ number: PartNumber!, size: Size!, etag: etagOf(ETag) })
        return parts
      } catch (error) {
        if (isMissing(error)) return undefined
        throw error
      }
    })
  }

  completeUpload(upload: Upload, parts: readonly Part[]): Promise<void> {
    return this.#told(upload.key, async () => {
      const Parts = parts.map(({ number, etag }) => ({ PartNumber: number, ETag: `"${etag}"` }))
      await this.#connection.send(
        new CompleteMultipartUploadCommand({ ...this.#of(upload), MultipartUpload: { Parts } }),
      )
    })
  }

  async isCompleted(upload: Upload, size: number): Promise<boolean> {
    const head = await this.#told(upload.key, () => this.#head(upload.key))
    return head?.ContentLength === size && head.Metadata?.[tokenName] === upload.token
  }

  /** Parts that were on their way may outlive it: it is repeated until nothing is left. */
  abortUpload(upload: UploadReference): Promise<void> {
    return this.#told(upload.key, async () => {
      for (let round = 0; round < abortRoundsMax; round++) {
        try {
          await this.#connection.send(new AbortMultipartUploadCommand(this.#of(upload)))
        } catch (error) {
          if (isMissing(error)) return
          throw error
        }
        if ((await this.listParts(upload)) === undefined) return
      }
    })
  }

  async *listUploads(prefix: string): AsyncGenerator<UploadReference, void> {
    try {
      for await (const page of uploadPages(this.#connection.send, this.#below(prefix)))
        for (const { Key, UploadId } of page)
          yield { key: Key!.slice(this.#prefix.length), id: UploadId! }
    } catch (error) {
      throw this.#failure(prefix, error)
    }
  }

  /** Whatever is on its way is given up. */
  async close(): Promise<void> {
    this.#connection.close()
  }

  /** The SDK can repeat what it has in one piece. */
  #bodyOf({ chunks, size, release }: PartContent): Buffer {
    const body = this.#spareBodies.take(size)
    let at = 0
    for (const chunk of chunks) {
      body.set(chunk, at)
      at += chunk.length
    }
    release?.()
    return body
  }

  #below(prefix: string) {
    return { Bucket: this.#bucket, Prefix: `${this.#prefix}${prefix}` }
  }

  #at(key: string) {
    return { Bucket: this.#bucket, Key: `${this.#prefix}${key}` }
  }

  #of({ key, id }: UploadReference) {
    return { ...this.#at(key), UploadId: id }
  }

  async #put(key: string, bytes: Uint8Array, ifNoneMatch?: '*'): Promise<void> {
    await this.#connection.send(
      new PutObjectCommand({
        ...this.#at(key),
        Body: bytes,
        ContentLength: bytes.length,
        ContentMD5: md5Of(bytes),
        ...(ifNoneMatch ? { IfNoneMatch: ifNoneMatch } : {}),
      }),
    )
  }

  async #get(key: string): Promise<Buffer | undefined> {
    try {
      const { Body } = await this.#connection.send(new GetObjectCommand(this.#at(key)))
      return Buffer.from(await Body!.transformToByteArray())
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async #head(key: string) {
    try {
      return await this.#connection.send(new HeadObjectCommand(this.#at(key)))
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async *#pages(prefix: string, delimiter?: string) {
    try {
      yield* objectPages(this.#connection.send, {
        ...this.#below(prefix),
        ...(delimiter === undefined ? {} : { Delimiter: delimiter }),
      })
    } catch (error) {
      throw this.#failure(prefix, error)
    }
  }

  async #told<T>(key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw this.#failure(key, error)
    }
  }

  async #taken<T>(key: string, work: () => Promise<T>): Promise<T> {
    return await this.#told(key, () => this.#connection.taken(work))
  }

  #failure(key: string, error: unknown): Error {
    return asBackupError(error, `s3://${this.#bucket}/${this.#prefix}${key}`)
  }
}

function md5Of(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('base64')
}

/** Some servers put quotes around it everywhere, some nowhere. */
function etagOf(etag: string | undefined): string {
  return demanded(etag, 'the ETag of a part').replaceAll('"', '')
}
