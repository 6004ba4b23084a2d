/** All buckets of a data directory, which it locks against other daemons. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { Clock } from '../clock.ts'
import type { Settings } from '../config/settings.ts'
import { StatusError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Random } from '../random.ts'
import { lockDataDirectory, type DataLock } from '../storage/data-lock.ts'
import { storageError } from '../storage/storage-error.ts'
import { createStore } from '../storage/store.ts'
import { syncDirectory } from '../storage/sync-directory.ts'
import { Bucket, type BucketSettings } from './bucket.ts'
import type { BucketShape } from './bucket-shape.ts'
import { ManifestHistory } from './collections/manifest-history.ts'
import { newVbucketRecord } from './vbucket.ts'

export interface BucketsOptions {
  /** The data directory. */
  directory: string
  settings: BucketSettings & Pick<Settings, 'vbuckets' | 'environments' | 'bucketsMax'>
  clock: Clock
  random: Random
  log: Log
  segmentBytes?: number
}

export const defaultBucketName = 'default'
const namePattern = /^[A-Za-z0-9_%-][A-Za-z0-9._%-]{0,99}$/

export class Buckets {
  readonly #options: BucketsOptions
  readonly #lock: DataLock
  readonly #buckets = new Map<string, Bucket>()
  /** Buckets that are being made or removed, by name. */
  readonly #changing = new Map<string, Promise<unknown>>()
  #closed: Promise<void> | undefined

  private constructor(options: BucketsOptions, lock: DataLock) {
    this.#options = options
    this.#lock = lock
  }

  /** Opens every bucket there is, and makes the default one in a new data directory. */
  static async open(options: BucketsOptions): Promise<Buckets> {
    const lock = lockDataDirectory(options.directory)
    const buckets = new Buckets(options, lock)
    try {
      await buckets.#openAll()
      return buckets
    } catch (error) {
      await buckets.close()
      throw error
    }
  }

  list(): Bucket[] {
    return [...this.#buckets.values()]
  }

  get(name: string): Bucket | undefined {
    return this.#buckets.get(name)
  }

  /**
   * Fails with a StatusError when the name is taken or none that a bucket can have, or when there
   * are enough of them.
   */
  async create(name: string, shape: Partial<BucketShape> = {}): Promise<Bucket> {
    if (!namePattern.test(name)) {
      throw new StatusError(Status.invalidArguments, `no name for a bucket: ${name}`)
    }
    if (this.#buckets.has(name) || this.#changing.has(name)) {
      throw new StatusError(Status.keyExists, `bucket ${name} exists`)
    }
    const { bucketsMax } = this.#options.settings
    if (this.#buckets.size + this.#changing.size >= bucketsMax) {
      const message = `there are ${bucketsMax} buckets, the most that --buckets-max allows`
      throw new StatusError(Status.temporaryFailure, message)
    }
    return this.#exclusively(name, async () => {
      // Prepared under another name, so that a crash leaves no half-made bucket.
      const prepared = join(this.#root, `.new-${name}`)
      rmSync(prepared, { recursive: true, force: true })
      await this.#prepare(name, prepared, shape)
      renameSync(prepared, this.#directoryOf(name))
      syncDirectory(this.#root)
      return this.#open(name)
    })
  }

  /** Removes a bucket and everything in it. */
  async delete(name: string): Promise<void> {
    const bucket = this.#buckets.get(name)
    if (bucket === undefined) throw new StatusError(Status.keyNotFound, `no bucket ${name}`)
    this.#buckets.delete(name)
    await this.#exclusively(name, async () => {
      bucket.events.emit('deleted')
      await bucket.close()
      const doomed = join(this.#root, `.deleted-${bucket.uuid}`)
      renameSync(this.#directoryOf(name), doomed)
      syncDirectory(this.#root)
      rmSync(doomed, { recursive: true, force: true })
    })
  }

  /** Ends all buckets with everything on disk, and frees the data directory. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#changing.values())
    await Promise.all(this.list().map(bucket => bucket.close()))
    this.#buckets.clear()
    this.#lock.release()
  }

  /** Makes or removes a bucket; nobody else may touch the name meanwhile. */
  async #exclusively<Value>(name: string, change: () => Promise<Value>): Promise<Value> {
    if (this.#closed) throw new StatusError(Status.temporaryFailure, 'the daemon is stopping')
    const changing = change().catch(error => {
      throw storageError(error, this.#directoryOf(name))
    })
    this.#changing.set(name, changing)
    try {
      return await changing
    } finally {
      this.#changing.delete(name)
    }
  }

  get #root(): string {
    return join(this.#options.directory, 'buckets')
  }

  #directoryOf(name: string): string {
    return join(this.#root, name)
  }

  async #openAll(): Promise<void> {
    const root = this.#root
    try {
      mkdirSync(root, { recursive: true })
      for (const name of readdirSync(root)) {
        // Left over from a creation or removal that a crash cut short.
        if (name.startsWith('.')) rmSync(join(root, name), { recursive: true, force: true })
      }
    } catch (error) {
      throw storageError(error, root)
    }
    if (!existsSync(this.#directoryOf(defaultBucketName)) && readdirSync(root).length === 0) {
      // As memcached: whoever reaches it may empty it.
      await this.create(defaultBucketName, { flushEnabled: true })
    }
    for (const name of readdirSync(root)) {
      if (!this.#buckets.has(name)) await this.#open(name)
    }
  }

  async #open(name: string): Promise<Bucket> {
    const { settings, clock, random, segmentBytes } = this.#options
    const bucket = await Bucket.open({
      directory: this.#directoryOf(name),
      settings,
      clock,
      random,
      log: this.#options.log.child({ bucket: name }),
      ...(segmentBytes === undefined ? {} : { segmentBytes }),
    })
    this.#buckets.set(name, bucket)
    return bucket
  }

  /** A store in which every vbucket is active, as one node alone serves all of them. */
  async #prepare(name: string, directory: string, shape: Partial<BucketShape>): Promise<void> {
    const { settings, random } = this.#options
    const { environments, mapSizeBytes, readerSlotsMax } = settings
    const { vbuckets: count = settings.vbuckets, quotaBytes = 0, flushEnabled = false } = shape
    const vbuckets = new Map(
      Array.from({ length: count }, (_, vbid) => [
        vbid,
        newVbucketRecord(VbucketState.active, random.uint64()),
      ]),
    )
    const uuid = `${hex(random)}${hex(random)}`
    const description = { name, uuid, vbuckets: count, environments, quotaBytes, flushEnabled }
    const options = { directory, mapSizeBytes, readerSlotsMax }
    await createStore(options, description, vbuckets, ManifestHistory.first)
  }
}

function hex(random: Random): string {
  return random.uint64().toString(16).padStart(16, '0')
}
