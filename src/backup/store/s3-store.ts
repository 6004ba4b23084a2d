import { createHash } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
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
import { objectPages, partPages, uploadPages } from './s3-lists.ts'
import { asBackupError, isMissing, mayPass, statusOf } from './s3-errors.ts'

export interface S3Options {
  /** Of a store that is not Amazon's; else as the SDK finds it in the environment. */
  endpoint?: string | undefined
  region?: string | undefined
  /** `http://host/bucket/key` rather than `http://bucket.host/key`. */
  pathStyle?: boolean | undefined
  /** Of every attempt of every request. */
  requests?: Throttle | undefined
}

const mebibyte = 1024 * 1024
const attemptsMax = 6
const readAttemptsMax = 6
const connectTimeoutMs = 10_000
/** Of silence; a store may think for minutes before it says that an upload is completed. */
const answerTimeoutMs = 300_000
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
  readonly #client: S3Client
  readonly #bucket: string
  /** Ends with a slash, or is empty. */
  readonly #prefix: string
  readonly #closing = new AbortController()

  /** `prefix` is what stands behind the bucket in the URL. */
  constructor(bucket: string, prefix: string, options: S3Options = {}) {
    const { endpoint, region, pathStyle, requests } = options
    this.url = `s3://${bucket}/${prefix}`
    this.#bucket = bucket
    // One for each request on its way.
    setMaxListeners(0, this.#closing.signal)
    this.#prefix = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`
    this.#client = new S3Client({
      ...(endpoint === undefined ? {} : { endpoint, region: region ?? 'us-east-1' }),
      ...(region === undefined ? {} : { region }),
      forcePathStyle: pathStyle ?? false,
      maxAttempts: attemptsMax,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: { connectionTimeout: connectTimeoutMs, requestTimeout: answerTimeoutMs },
    })
    if (requests) this.#limit(requests)
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
        if (status === 412 || status === 409) return false
        if (status !== 501) throw error
        await this.#put(key, bytes)
      }
      return (await this.#get(key))?.equals(bytes) ?? false
    })
  }

  get(key: string): Promise<Buffer | undefined> {
    return this.#told(key, () => this.#get(key))
  }

  /** A connection that is lost on the way is followed by another one, from there on. */
  async *read(key: string, range?: ByteRange): AsyncGenerator<Buffer, void> {
    let at = range?.start ?? 0
    const end = range?.end ?? (await this.size(key))
    if (end === undefined) throw new BackupError('missing', `${this.url}: there is no ${key}`)
    for (let attempt = 0; at < end; attempt++) {
      try {
        const Range = `bytes=${at}-${end - 1}`
        const { Body } = await this.#send(new GetObjectCommand({ ...this.#at(key), Range }))
        for await (const chunk of Body as AsyncIterable<Buffer>) {
          at += chunk.length
          attempt = 0
          yield chunk
        }
      } catch (error) {
        if (attempt >= readAttemptsMax || !mayPass(error) || this.#closing.signal.aborted)
          throw this.#failure(key, error)
      }
    }
  }

  size(key: string): Promise<number | undefined> {
    return this.#told(key, async () => (await this.#head(key))?.ContentLength)
  }

  async remove(key: string): Promise<void> {
    await this.#told(key, () => this.#send(new DeleteObjectCommand(this.#at(key))))
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
    return this.#told(key, async () => {
      const { UploadId } = await this.#send(
        new CreateMultipartUploadCommand({ ...this.#at(key), Metadata: { [tokenName]: token } }),
      )
      return { key, id: UploadId!, token }
    })
  }

  putPart(upload: UploadReference, number: number, content: PartContent): Promise<Part> {
    return this.#told(upload.key, async () => {
      const Body = Buffer.concat(content.chunks, content.size)
      const { ETag } = await this.#send(
        new UploadPartCommand({
          ...this.#of(upload),
          PartNumber: number,
          Body,
          ContentLength: Body.length,
          ContentMD5: md5Of(Body),
        }),
      )
      return { number, size: content.size, etag: bare(ETag) }
    })
  }

  copyPart(
    upload: UploadReference,
    number: number,
    sourceKey: string,
    range?: ByteRange,
  ): Promise<Part> {
    return this.#told(upload.key, async () => {
      const path = `${this.#bucket}/${this.#prefix}${sourceKey}`
      const size = range ? range.end - range.start : (await this.#head(sourceKey))?.ContentLength
      const { CopyPartResult } = await this.#send(
        new UploadPartCopyCommand({
          ...this.#of(upload),
          PartNumber: number,
          CopySource: path.split('/').map(encodeURIComponent).join('/'),
          ...(range ? { CopySourceRange: `bytes=${range.start}-${range.end - 1}` } : {}),
        }),
      )
      return { number, size: size ?? 0, etag: bare(CopyPartResult?.ETag) }
    })
  }

  listParts(upload: UploadReference): Promise<Part[] | undefined> {
    return this.#told(upload.key, async () => {
      const parts: Part[] = []
      try {
        for await (const page of partPages(this.#send, this.#of(upload)))
          for (const { PartNumber, Size, ETag } of page)
            parts.push({ number: PartNumber!, size: Size!, etag: bare(ETag) })
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
      await this.#send(
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
          await this.#send(new AbortMultipartUploadCommand(this.#of(upload)))
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
      for await (const page of uploadPages(this.#send, this.#below(prefix)))
        for (const { Key, UploadId } of page)
          yield { key: Key!.slice(this.#prefix.length), id: UploadId! }
    } catch (error) {
      throw this.#failure(prefix, error)
    }
  }

  /** Whatever is on its way is given up. */
  async close(): Promise<void> {
    this.#closing.abort()
    this.#client.destroy()
  }

  /** Behind the SDK's own retries, so that these wait for their turn, too. */
  #limit(requests: Throttle): void {
    this.#client.middlewareStack.add(
      next => async request => {
        await requests.take(1, this.#closing.signal)
        return await next(request)
      },
      { step: 'finalizeRequest', priority: 'low', name: 'holdfastThrottle' },
    )
  }

  readonly #send: S3Client['send'] = ((command: Parameters<S3Client['send']>[0]) =>
    this.#client.send(command, { abortSignal: this.#closing.signal })) as S3Client['send']

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
    await this.#send(
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
      const { Body } = await this.#send(new GetObjectCommand(this.#at(key)))
      return Buffer.from(await Body!.transformToByteArray())
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async #head(key: string) {
    try {
      return await this.#send(new HeadObjectCommand(this.#at(key)))
    } catch (error) {
      if (isMissing(error)) return undefined
      throw error
    }
  }

  async *#pages(prefix: string, delimiter?: string) {
    try {
      yield* objectPages(this.#send, {
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

  #failure(key: string, error: unknown): Error {
    return asBackupError(error, `s3://${this.#bucket}/${this.#prefix}${key}`)
  }
}

function md5Of(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('base64')
}

/** Some servers put quotes around it everywhere, some nowhere. */
function bare(etag: string | undefined): string {
  return (etag ?? '').replaceAll('"', '')
}
