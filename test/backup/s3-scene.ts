import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Repository } from '../../src/backup/repository.ts'
import { restore } from '../../src/backup/restore/restore.ts'
import { dataKey } from '../../src/backup/archive/layout.ts'
import { backUp, type BackupOptions } from '../../src/backup/run/backup.ts'
import type { ObjectStore, StoreLimits } from '../../src/backup/store/object-store.ts'
import type { S3Options } from '../../src/backup/store/s3-connection.ts'
import { S3Store } from '../../src/backup/store/s3-store.ts'
import { KvClient } from '../../src/client/index.ts'
import { clientClock } from '../../src/client/client-clock.ts'
import { documentsOf } from './scene.ts'
import { collect } from './store-suite.ts'

/** What the gateway of these tests takes, so that what a crash may meet is there in a few kilobytes. */
export const smallPartBytes = 16 * 1024

/** Knows that its store takes smaller parts than Amazon's. */
export class SmallPartsStore extends S3Store {
  override readonly limits: StoreLimits
  readonly bucket: string
  readonly prefix: string

  constructor(bucket: string, prefix: string, options: S3Options & { partBytesMin?: number } = {}) {
    super(bucket, prefix, { pathStyle: true, ...options })
    this.bucket = bucket
    this.prefix = prefix
    const partBytesMin = options.partBytesMin ?? smallPartBytes
    this.limits = { partBytesMin, partBytesMax: 2 ** 30, partsMax: 10_000 }
  }
}

/** The same store, but for these methods. */
export function altered(store: ObjectStore, methods: Partial<ObjectStore>): ObjectStore {
  return new Proxy(store, {
    get(target, name) {
      const own = methods[name as keyof ObjectStore] as unknown
      const found = own ?? (Reflect.get(target, name, target) as unknown)
      return typeof found === 'function' ? (found.bind(target) as unknown) : found
    },
  })
}

/** Pauses are a fiftieth of what they would be. */
export const hurriedClock = {
  ...clientClock,
  after: (delayMs: number, callback: () => void) => clientClock.after(delayMs / 50, callback),
}

export type SmallBackupOptions = Partial<BackupOptions> & {
  port: number
  bucket: string
  repository: string
  staging: string
}

/** A backup in parts as small as the gateway takes, so that a small bucket has several in each vbucket. */
export function smallBackup(
  store: ObjectStore,
  { port, bucket, staging, ...options }: SmallBackupOptions,
): ReturnType<typeof backUp> {
  return backUp({
    store,
    source: { host: '127.0.0.1', port, bucket },
    stagingRoot: staging,
    compression: 'none',
    blockBytes: 4096,
    segmentBytes: smallPartBytes,
    clock: hurriedClock,
    signal: new AbortController().signal,
    report: () => {},
    ...options,
  })
}

export const vbucketCount = 4
/** Of these, the first: those of which there is more than a part. The others are small, and share a pack. */
const largeVbuckets = 2
const documentsOfVbucket = 22
const documentsOfSmall = 3
const valueBytes = 2000

/** A bucket that is backed up, and one that the backup is restored into, in one daemon. */
export class SmallBucket {
  readonly port: number
  readonly name: string
  readonly client: KvClient
  /** As many in each large vbucket, in turns. */
  readonly keys: readonly string[]
  /** The same of the small ones. */
  readonly #smallKeys: readonly string[]
  readonly #target: KvClient
  /** Its documents, by the seqnos that the vbuckets had. */
  readonly #history = new Map<string, unknown>()
  #version = 0
  #removed: number | undefined

  static async make(port: number, name: string): Promise<SmallBucket> {
    const maker = await KvClient.connect({ port })
    for (const bucket of [name, `${name}-restored`])
      await maker.createBucket(bucket, 'flush_enabled=true')
    await maker.close()
    const client = await KvClient.connect({ port, bucket: name })
    const target = await KvClient.connect({ port, bucket: `${name}-restored` })
    const made = new SmallBucket(port, client, target, name)
    await made.write(0, made.keys.length)
    for (const key of made.#smallKeys) await client.set(key, key.padEnd(valueBytes, 'small '))
    await made.#remember()
    return made
  }

  private constructor(port: number, client: KvClient, target: KvClient, name: string) {
    this.port = port
    this.client = client
    this.#target = target
    this.name = name
    this.keys = Array.from({ length: largeVbuckets * documentsOfVbucket }, (_, index) =>
      this.#keyIn(index % largeVbuckets, Math.floor(index / largeVbuckets)),
    )
    const small = vbucketCount - largeVbuckets
    this.#smallKeys = Array.from({ length: small * documentsOfSmall }, (_, index) =>
      this.#keyIn(largeVbuckets + (index % small), Math.floor(index / small)),
    )
  }

  async write(from: number, to: number): Promise<void> {
    const version = ++this.#version
    const text = (number: number) => `${version} ${number} `.padEnd(valueBytes, `${number}-`)
    const keys = this.keys.slice(from, to)
    await Promise.all(
      keys.map((key, index) => this.client.set(key, text(from + index), { flags: version })),
    )
  }

  /** Some documents of each large vbucket are changed, one of a small one, one is deleted, one new or changed. */
  async change(): Promise<void> {
    await this.write(0, 2 * largeVbuckets)
    const small = this.#smallKeys[this.#version % this.#smallKeys.length]!
    await this.client.set(small, `${this.#version} `.padEnd(valueBytes, 'changed '))
    // The one that was deleted last time is there again: a bucket always has as many parts.
    const at = 3 * largeVbuckets + (this.#version % 30)
    if (this.#removed !== undefined) await this.write(this.#removed, this.#removed + 1)
    await this.client.remove(this.keys[at]!)
    this.#removed = at
    await this.client.set(`new-${this.#version % 8}`, `${this.#version}`)
    await this.#remember()
  }

  async #remember(): Promise<void> {
    const seqnos = JSON.stringify([...(await this.client.allVbSeqnos())])
    this.#history.set(seqnos, await this.#contents(''))
  }

  backUp(
    store: ObjectStore,
    options: Omit<SmallBackupOptions, 'port' | 'bucket'>,
  ): ReturnType<typeof backUp> {
    return smallBackup(store, { port: this.port, bucket: this.name, ...options })
  }

  /** Leaves a backup of which the large vbuckets but the last are uploaded, and of that one the first part. */
  async interrupt(store: ObjectStore, place: { repository: string; staging: string }) {
    const stop = new AbortController()
    const stopping = altered(store, {
      putPart(upload, number, content) {
        const isSecond = upload.key.endsWith(dataKey(largeVbuckets - 1)) && number === 2
        if (isSecond) stop.abort(new Error('stopped'))
        return isSecond
          ? Promise.reject(new Error('stopped'))
          : store.putPart(upload, number, content)
      },
    })
    const outcome = this.backUp(stopping, { ...place, threads: 1, signal: stop.signal })
    await outcome.then(
      () => Promise.reject(new Error('it was not stopped')),
      (error: Error) => {
        if (error.message !== 'stopped') throw error
      },
    )
  }

  /**
   * What has to hold when a backup was interrupted and resumed, however often: there is one, complete,
   * with nothing around it; and restored it is the bucket as it was at the seqnos that it tells of.
   */
  async expectWhole(t: Pick<Test, 'same'>, store: ObjectStore, name: string, about = '') {
    const repository = await Repository.open(store, name)
    const backups = await repository.backups()
    const document = backups[0]?.document
    t.same([backups.length, document?.type], [1, 'full'], `${about}: one full backup`)
    const manifest = await repository.manifest(document!, undefined)
    const own = new Set([...manifest.objects.map(({ key }) => key), 'backup.json', 'manifest.json'])
    const expected = [...[...own].map(key => `${document!.id}/${key}`), 'repository.json']
    const found = await collect(store.list(`${name}/`))
    t.same(
      found.map(({ key }) => key.slice(name.length + 1)).sort(),
      expected.sort(),
      `${about}: nothing but what the manifest names`,
    )
    t.same(await collect(store.listUploads(`${name}/`)), [], `${about}: no upload is left`)
    const seqnos = manifest.vbuckets.map(({ vbid, seqno }) => [vbid, seqno])
    const contents = this.#history.get(JSON.stringify(seqnos))
    t.same(await this.#restored(store, name), contents, `${about}: every document, as it was then`)
    return document!
  }

  async close(): Promise<void> {
    await Promise.all([this.client.close(), this.#target.close()])
  }

  async #restored(store: ObjectStore, repository: string) {
    await this.#target.flush()
    const stagingRoot = mkdtempSync(join(tmpdir(), 'restored-'))
    await restore({
      stagingRoot,
      store,
      repository,
      target: { host: '127.0.0.1', port: this.port, bucket: `${this.name}-restored` },
      signal: new AbortController().signal,
      report: () => {},
    }).finally(() => rmSync(stagingRoot, { recursive: true }))
    return await this.#contents('-restored')
  }

  /** Without the seqnos, which are each bucket's own. */
  async #contents(suffix: string) {
    const documents = await documentsOf(this.port, `${this.name}${suffix}`)
    return new Map([...documents].map(([key, document]) => [key, { ...document, seqno: 0 }]))
  }

  #keyIn(vbid: number, number: number): string {
    for (let attempt = 0; ; attempt++) {
      const key = `key-${number}-${attempt}`
      if (this.client.vbucketOf(key) === vbid) return key
    }
  }
}

export function stagingOf(t: Test, name: string): string {
  return join(t.testdirName, 'staging', name)
}
