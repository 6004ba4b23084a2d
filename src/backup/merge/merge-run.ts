import type { Clock } from '../../clock.ts'
import {
  encodeDocument,
  type BackupDocument,
  type DataObject,
  type Manifest,
} from '../archive/documents.ts'
import { BackupFile, generationOf, mergedDataKey, mergedManifestName } from '../archive/layout.ts'
import { defaultBlockBytes, defaultSegmentBytes } from '../archive/object-writer.ts'
import { recordsIn, sumOf } from '../archive/record-counts.ts'
import { keyOfObject, readBlocks } from '../data-object.ts'
import { damaged } from '../errors.ts'
import { forEachOf } from '../lanes.ts'
import { sealOf, type Repository } from '../repository.ts'
import { sizeOf, type ObjectStore } from '../store/object-store.ts'
import { putMergeJournal, readMergeJournal, type MergeJournal } from './merge-journal.ts'
import { sweepMerge } from './merge-rests.ts'
import { copyObject, MergedObject, type ObjectFormat, type ObjectTarget } from './merged-object.ts'
import type { MergeOptions } from './merge.ts'
import { NewestRecords, passesFor } from './newest-records.ts'

type RunOptions = MergeOptions & { threads: number; signal: AbortSignal; clock: Clock }

/** An object, and the backup that has it. */
interface Source {
  readonly backup: BackupDocument
  readonly object: DataObject
}

const progressIntervalMs = 500
const journalIntervalMs = 10_000
/** Of a vbucket, some 100 bytes each. */
const defaultKeysMax = 500_000

/**
 * Makes the objects of the merged backup beside those of the newest of its backups, then its manifest,
 * and last replaces that one's `backup.json`.
 */
export class MergeRun {
  readonly #options: RunOptions
  readonly #store: ObjectStore
  readonly #repository: Repository
  readonly #key: Uint8Array | undefined
  readonly #backups: readonly BackupDocument[]
  readonly #last: BackupDocument
  readonly #done = new Map<number, DataObject>()
  /** One after the other: an older one must not come last. */
  #journalling: Promise<void> = Promise.resolve()
  #progress = { vbuckets: 0, vbucketsTotal: 0, bytes: 0, bytesTotal: 0 }

  constructor(
    options: RunOptions,
    repository: Repository,
    key: Uint8Array | undefined,
    backups: readonly BackupDocument[],
  ) {
    this.#options = options
    this.#store = repository.store
    this.#repository = repository
    this.#key = key
    this.#backups = backups
    this.#last = backups.at(-1)!
  }

  async run(verifyLock: () => Promise<void>): Promise<BackupDocument> {
    const { clock, threads } = this.#options
    const { manifests, sources } = await this.#look()
    await this.#begin()
    const report = () => this.#options.report({ type: 'progress', ...this.#progress })
    const ticking = [
      clock.every(progressIntervalMs, report),
      // One that fails is followed by another: it saves work, nothing else.
      clock.every(journalIntervalMs, () => void this.#putJournal().catch(() => {})),
    ]
    try {
      const left = [...sources].filter(([vbid]) => !this.#done.has(vbid))
      this.#count(left.map(([, list]) => list))
      await forEachOf(left, threads, async ([vbid, list]) => {
        this.#options.signal.throwIfAborted()
        this.#done.set(vbid, await this.#merged(vbid, list))
        this.#progress.vbuckets++
      })
    } catch (error) {
      await this.#putJournal().catch(() => {})
      throw error
    } finally {
      for (const timer of ticking) timer.cancel()
      await this.#journalling
    }
    report()
    await this.#putJournal()
    return await this.#commit(manifests.at(-1)!, verifyLock)
  }

  /** The objects of each vbucket, oldest first. */
  async #look(): Promise<{ manifests: Manifest[]; sources: Map<number, Source[]> }> {
    const manifests: Manifest[] = []
    const sources = new Map<number, Source[]>()
    for (const backup of this.#backups) {
      const manifest = await this.#repository.manifest(backup, this.#key)
      manifests.push(manifest)
      for (const object of manifest.objects) {
        const before = sources.get(object.vbid) ?? []
        if (before.length > 0 && before.at(-1)!.object.lastSeqno >= object.firstSeqno)
          throw damaged(`${backup.id}: vbucket ${object.vbid} goes back behind the backup before`)
        sources.set(object.vbid, [...before, { backup, object }])
      }
    }
    return { manifests, sources }
  }

  /** Takes over what an earlier run of this merge has made; of another one, nothing is left. */
  async #begin(): Promise<void> {
    const { threads, signal, report } = this.#options
    const objects = await readMergeJournal(this.#store, this.#journalKey, this.#names())
    if (objects.length === 0)
      await sweepMerge({ repository: this.#repository, threads, signal, report }, this.#last)
    for (const object of objects)
      if ((await this.#store.size(`${this.#prefix}${object.key}`)) === object.size)
        this.#done.set(object.vbid, object)
    if (this.#done.size > 0)
      report({ type: 'note', message: `going on: ${this.#done.size} vbuckets are done` })
    await this.#putJournal()
  }

  async #merged(vbid: number, sources: readonly Source[]): Promise<DataObject> {
    const { store, clock, signal } = this.#options
    const key = mergedDataKey(this.#generation, vbid)
    const target: ObjectTarget = { store, prefix: this.#prefix, key, clock, signal }
    const [{ backup, object }] = sources as [Source]
    if (this.#isTakenOver(sources)) {
      if (backup === this.#last) return object
      return await copyObject(target, this.#keyOf({ backup, object }), object)
    }
    const newest = await NewestRecords.find({
      records: recordsOf(sources),
      keysMax: this.#keysMax,
      read: () => this.#read(sources),
    })
    const merged = new MergedObject(target, vbid, this.#format())
    let index = 0
    for await (const records of this.#read(sources))
      for (const record of records) {
        const wait = newest.isNewest(index++) ? merged.append(record) : undefined
        if (wait) await wait
      }
    return await merged.finish(object.firstSeqno)
  }

  /** As it is. Out of another's pack it is not: a store may refuse to copy a range of what is small. */
  #isTakenOver([first, ...others]: readonly Source[]): boolean {
    const { backup, object } = first!
    return others.length === 0 && (backup === this.#last || object.offset === undefined)
  }

  async *#read(sources: readonly Source[]) {
    const repository = this.#repository
    for (const { backup, object } of sources) {
      const blocks = readBlocks({ repository, backupId: backup.id, key: this.#key }, object)
      const records = recordsIn(object.counts)
      for await (const block of blocks) {
        this.#options.signal.throwIfAborted()
        this.#progress.bytes += (object.size * block.length) / records
        yield block
      }
    }
  }

  async #commit(manifest: Manifest, verifyLock: () => Promise<void>): Promise<BackupDocument> {
    const [first] = this.#backups as [BackupDocument]
    const objects = [...this.#done.values()].sort((one, other) => one.vbid - other.vbid)
    const bytes = encodeDocument({ ...manifest, objects } satisfies Manifest)
    const name = mergedManifestName(this.#generation)
    await this.#store.put(`${this.#prefix}${name}`, bytes)
    const { previous: _, ...last } = this.#last
    const taken = this.#backups.slice(0, -1)
    const document: BackupDocument = {
      ...last,
      type: first.type,
      ...(first.previous === undefined ? {} : { previous: first.previous }),
      counts: sumOf(objects.map(({ counts }) => counts)),
      storedBytes: sizeOf(objects),
      merged: [
        ...this.#backups.flatMap(({ merged = [] }) => merged),
        ...taken.map(({ id }) => id),
      ].sort(),
      manifest: { key: name, ...sealOf(bytes, this.#key) },
    }
    await verifyLock()
    await this.#store.put(`${this.#prefix}${BackupFile.backup}`, encodeDocument(document))
    return document
  }

  #putJournal(): Promise<void> {
    const put = this.#journalling.then(() => {
      const journal = { backups: this.#names(), objects: [...this.#done.values()] }
      return putMergeJournal(this.#store, this.#journalKey, journal)
    })
    this.#journalling = put.catch(() => {})
    return put
  }

  #count(lists: readonly (readonly Source[])[]): void {
    const bytesOf = (list: readonly Source[]) =>
      this.#isTakenOver(list)
        ? 0
        : list.reduce((sum, { object }) => sum + object.size, 0) *
          (passesFor(recordsOf(list), this.#keysMax) + 1)
    this.#progress = {
      vbuckets: 0,
      vbucketsTotal: lists.length,
      bytes: 0,
      bytesTotal: lists.reduce((sum, list) => sum + bytesOf(list), 0),
    }
  }

  #format(): ObjectFormat {
    const { blockBytes = defaultBlockBytes, segmentBytes = defaultSegmentBytes } = this.#options
    return {
      compression: this.#repository.document.compression,
      repositoryKey: this.#key,
      blockBytes,
      segmentBytes: Math.max(segmentBytes, this.#store.limits.partBytesMin),
    }
  }

  #names(): MergeJournal['backups'] {
    return this.#backups.map(({ id, manifest }) => ({ id, manifest: manifest.sha256 }))
  }

  #keyOf({ backup, object }: Source): string {
    return keyOfObject(
      { repository: this.#repository, backupId: backup.id, key: this.#key },
      object,
    )
  }

  get #keysMax(): number {
    return this.#options.keysMax ?? defaultKeysMax
  }

  /** How many times the backup has taken up others: what is new must not have the name of what is old. */
  get #generation(): number {
    return generationOf(this.#last.manifest.key) + 1
  }

  get #prefix(): string {
    return this.#repository.prefix(this.#last.id)
  }

  get #journalKey(): string {
    return `${this.#prefix}${BackupFile.merge}`
  }
}

function recordsOf(sources: readonly Source[]): number {
  return recordsIn(sumOf(sources.map(({ object }) => object.counts)))
}
