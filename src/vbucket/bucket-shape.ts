/** What buckets differ in, kept in the description that lies beside their files. */
import { Status } from '../../protocol/status.ts'
import { StatusError } from '../errors.ts'
import { storageError } from '../storage/storage-error.ts'
import { writeDescription, type BucketDescription } from '../storage/store.ts'
import { Quota } from './quota.ts'

export type BucketShape = Pick<BucketDescription, 'vbuckets' | 'quotaBytes' | 'flushEnabled'>

export class BucketShapeFile {
  /** What the shape's quota leaves. */
  readonly quota: Quota
  readonly #directory: string
  #description: BucketDescription

  constructor(directory: string, description: BucketDescription) {
    this.#directory = directory
    this.#description = description
    this.quota = new Quota(description.quotaBytes)
  }

  get current(): BucketShape {
    return this.#description
  }

  /** Changes what can be changed of a bucket that exists; it is on disk when this returns. */
  change(shape: Partial<Omit<BucketShape, 'vbuckets'>>): void {
    const { quotaBytes, flushEnabled } = { ...this.#description, ...shape }
    const description = { ...this.#description, quotaBytes, flushEnabled }
    try {
      writeDescription(this.#directory, description)
    } catch (error) {
      throw storageError(error, this.#directory)
    }
    this.#description = description
    this.quota.limitBytes = quotaBytes
  }

  /** Fails with a StatusError when the bucket may not be emptied with one request. */
  assertFlushable(): void {
    const { name, flushEnabled } = this.#description
    if (flushEnabled) return
    throw new StatusError(Status.notSupported, `flush is disabled for the bucket ${name}`)
  }
}
