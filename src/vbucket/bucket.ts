/**
 * A bucket: its vbuckets, the change log that they share, and the threads that put it on disk
 * and read it back. It builds these parts, connects them, and ends them in the right order.
 */
import { EventEmitter } from 'node:events'
import { Status } from '../../protocol/status.ts'
import type { VbucketState } from '../../protocol/vbucket-state.ts'
import { type OperatorError, StatusError } from '../errors.ts'
import { DiskReader } from '../storage/disk-reader.ts'
import { figuresOf } from '../storage/environment.ts'
import { Flusher } from '../storage/flusher.ts'
import type { CommittedBatch } from '../storage/flusher-messages.ts'
import { type HoldOptions, PurgeHolds } from '../storage/holds.ts'
import type { RecordView } from '../storage/record.ts'
import { SnapshotService } from '../storage/snapshots.ts'
import { storageError } from '../storage/storage-error.ts'
import { closeStore, openStore, type OpenStore } from '../storage/store.ts'
import type { BucketEvents, BucketOptions } from './bucket-options.ts'
import { BucketShapeFile } from './bucket-shape.ts'
import { CommitCounter, countDocuments, type BucketStatistics } from './bucket-statistics.ts'
import { ChangeLog } from './change-log.ts'
import type { Collections } from './collections/collections.ts'
import { openCollections } from './collections/open-collections.ts'
import { connectDocuments, type DocumentAccess } from './document-access.ts'
import { DocumentWriter } from './document-writer.ts'
import type { Documents } from './documents.ts'
import { Durability } from './durability.ts'
import type { Reached } from './position-waiters.ts'
import { PressureGauge, type Pressure } from './pressure.ts'
import type { CompactRequest } from './purger.ts'
import { randomDocument } from './random-document.ts'
import { RangeScans } from './range-scans.ts'
import { noteCleanStop, recoverVbuckets } from './recovery.ts'
import type { Room } from './room.ts'
import { Upkeep } from './upkeep.ts'
import type { Vbucket } from './vbucket.ts'
import { notMine, VbucketTable } from './vbucket-table.ts'

export type { BucketEvents, BucketOptions, BucketSettings } from './bucket-options.ts'

const defaultSegmentBytes = 4 * 1024 * 1024
const flushRetryMs = 1000
const holdStoreIntervalMs = 1000
const closePatienceMs = 10_000

export class Bucket {
  readonly name: string
  readonly uuid: string
  readonly vbucketCount: number
  readonly shape: BucketShapeFile
  readonly events = new EventEmitter<BucketEvents>()
  readonly changes: ChangeLog
  readonly documents: Documents
  readonly metaWriter: DocumentAccess['metaWriter']
  readonly rewriter: DocumentAccess['rewriter']
  readonly collections: Collections
  readonly holds: PurgeHolds
  readonly snapshots: SnapshotService
  readonly rangeScans: RangeScans
  readonly #options: BucketOptions
  readonly #store: OpenStore
  readonly #vbuckets: VbucketTable
  readonly #disk: DiskReader
  readonly #gauge: PressureGauge
  readonly #durability: Durability
  readonly #flusher: Flusher
  readonly #upkeep: Upkeep
  readonly #commits: CommitCounter
  #closed: Promise<void> | undefined

  private constructor(options: BucketOptions, store: OpenStore) {
    const { settings, clock, log, random } = options
    this.#options = options
    this.#store = store
    const { name, uuid, vbuckets: count } = store.description
    this.name = name
    this.uuid = uuid
    this.vbucketCount = count
    this.shape = new BucketShapeFile(options.directory, store.description)
    this.#gauge = new PressureGauge(settings.unflushedSoftBytes, settings.unflushedHardBytes)
    this.#commits = new CommitCounter(store.environments.map(figuresOf))
    const changes = (this.changes = new ChangeLog({
      segmentBytes: options.segmentBytes ?? defaultSegmentBytes,
      retainBytes: settings.changeLogBytes,
      cacheBytes: settings.documentCacheBytes,
      onSegment: (number, memory) => this.#flusher.addSegment(number, memory),
      onRelease: number => this.#flusher.releaseSegment(number),
    }))
    const { waiters } = (this.#durability = new Durability({
      ...options,
      changes,
      flusher: () => this.#flusher,
      vbucket: vbid => this.vbucket(vbid),
      room: () => this.#room(),
    }))
    this.#disk = new DiskReader(store.environments, (vbid, seqno, cause) => {
      log.error({ vbid, seqno, error: String(cause) }, 'a page of the store is damaged')
    })
    const { quota } = this.shape
    const writer = new DocumentWriter({ changes, clock, quota, onAppend: () => this.#appended() })
    this.collections = openCollections(options.directory, {
      writer,
      nowSeconds: () => Math.floor(clock.nowMs() / 1000),
      vbuckets: () => this.#vbuckets,
      onDropped: () => this.#upkeep.eraser.wake(),
      onChange: dropped => void this.events.emit('manifest', dropped),
    })
    const { documents, metaWriter, rewriter } = connectDocuments({
      ...options,
      changes,
      writer,
      disk: this.#disk,
      collections: this.collections,
      admit: vbucket => this.#admit(vbucket),
    })
    this.documents = documents
    this.metaWriter = metaWriter
    this.rewriter = rewriter
    const flusher = (this.#flusher = this.#makeFlusher())
    const snapshots = (this.snapshots = this.#makeSnapshots())
    this.rangeScans = new RangeScans({ ...options, bucket: this })
    const holdOptions: HoldOptions = {
      clock,
      graceMs: settings.backfillGraceSeconds * 1000,
      storeIntervalMs: holdStoreIntervalMs,
      store: (vbid, holder, hold) => flusher.step({ kind: 'hold', vbid, holder, hold }),
    }
    const holds = (this.holds = new PurgeHolds(holdOptions, store.holds))
    const { collections, vbuckets: stored, environments } = store
    const onActive = (vbucket: Vbucket) => this.collections.bringUp(vbucket)
    const { events } = this
    const { locks } = documents
    const lives = { flusher, snapshots, changes, holds, locks, waiters, random, count, events }
    const vbuckets = new VbucketTable({ ...lives, quota, stored, collections, onActive })
    this.#vbuckets = vbuckets
    const kept = { flusher, holds, snapshots, changes, vbuckets, documents, environments }
    this.#upkeep = new Upkeep({ ...options, ...kept, disk: this.#disk, commits: this.#commits })
  }

  /** Opens a bucket's directory and starts its threads. Fails with an OperatorError. */
  static async open(options: BucketOptions): Promise<Bucket> {
    const { directory, settings, random, log } = options
    const nowSeconds = Math.floor(options.clock.nowMs() / 1000)
    const store = await openStore({ ...settings, directory, nowSeconds })
    let bucket: Bucket | undefined
    try {
      recoverVbuckets(store, random, log)
      bucket = new Bucket(options, store)
      await Promise.all([bucket.#flusher.ready, bucket.snapshots.ready])
    } catch (error) {
      if (bucket) await bucket.#abandon()
      await closeStore(store)
      throw storageError(error, directory)
    }
    // What a crash has kept a change of the manifest from.
    bucket.collections.bringUpAll()
    bucket.#upkeep.start()
    return bucket
  }

  vbucket(vbid: number): Vbucket | undefined {
    return this.#vbuckets.get(vbid)
  }

  vbuckets(): Iterable<Vbucket> {
    return this.#vbuckets
  }

  get pressure(): Pressure {
    return this.#gauge.pressure
  }

  /** Calls `listener` when the pressure or `failure` changes, until the returned function is called. */
  onPressure(listener: (pressure: Pressure) => void): () => void {
    return this.#gauge.listen(listener)
  }

  /** Why nothing can be written to disk now; undefined while all is well. */
  get failure(): OperatorError | undefined {
    return this.#flusher.failure
  }

  /**
   * Puts a vbucket into a state, making it if need be. One that becomes active begins a new
   * history. Resolves when that is on disk.
   */
  setState(vbid: number, state: VbucketState): Promise<void> {
    return this.#vbuckets.setState(vbid, state)
  }

  /** Removes a vbucket and what it holds. Resolves when nothing of it is left on disk. */
  deleteVbucket(vbid: number): Promise<void> {
    return this.#vbuckets.delete(vbid)
  }

  /** Empties the bucket, if it may be: its vbuckets begin again at seqno 0. Resolves when that is on disk. */
  async flush(): Promise<void> {
    this.shape.assertFlushable()
    return this.#vbuckets.flush()
  }

  /** Purges tombstones of a vbucket as COMPACT_DB asks. Resolves when it is done. */
  compact(vbid: number, request: CompactRequest): Promise<void> {
    const vbucket = this.vbucket(vbid)
    if (vbucket === undefined) return Promise.reject(notMine(vbid))
    return this.#upkeep.purger.compact(vbucket, request)
  }

  /**
   * Calls `done` once everything written so far would survive a crash, or with an error when it is
   * not known whether it will.
   */
  afterDurable(done: Reached): void {
    this.#durability.afterDurable(done)
  }

  /** Whoever waits for that is told the error: the daemon stops before the disk has come back. */
  giveUpDurable(error: Error): void {
    this.#durability.waiters.giveUp(error)
  }

  /** Calls `done` once everything written so far is in LMDB. */
  afterCommit(done: () => void): void {
    this.#durability.afterCommit(done)
  }

  /** Commits what was written without gathering more: somebody has asked whether it is on disk. */
  commitSoon(): void {
    this.#flusher.hurry()
  }

  /**
   * Resolves once the vbucket's change with this seqno is in LMDB. Fails with a StatusError when
   * the vbucket goes away before, and with the signal's reason when that gives up.
   */
  whenPersisted(vbid: number, seqno: number, signal?: AbortSignal): Promise<void> {
    const vbucket = this.vbucket(vbid)
    if (vbucket === undefined) return Promise.reject(notMine(vbid))
    if (vbucket.persistedSeqno < seqno) this.#flusher.hurry()
    return this.#durability.waiters.reached(vbucket, seqno, signal)
  }

  /** A live document of a collection chosen at random, or undefined when there is none. */
  randomKey(collection: number): RecordView | undefined {
    const { documents, changes } = this
    const places = { vbuckets: this.#vbuckets.all, disk: this.#disk, collection }
    return randomDocument({ ...this.#options, ...places, documents, changes })
  }

  statistics(): BucketStatistics {
    return {
      ...countDocuments(this.#vbuckets, this.shape.quota),
      ...this.#commits.figures(),
      unflushedBytes: this.changes.unflushedBytes,
      changeLogBytes: this.changes.retainedBytes,
      documentCacheBytes: this.changes.cachedBytes,
      expired: this.#upkeep.expired,
      purged: this.#upkeep.purger.purged,
      purgePasses: this.#upkeep.purger.passes,
      failure: this.failure,
    }
  }

  /**
   * Ends the bucket with everything on disk. When the disk refuses, it gives up after a while:
   * what was not written is lost, and the next start takes this stop for an unclean one.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.collections.settled()
    await this.#upkeep.stop()
    this.holds.close()
    const isDrained = await this.#flusher.drainedWithin(closePatienceMs)
    if (!isDrained) {
      const { unflushedBytes } = this.changes
      this.#options.log.error({ unflushedBytes }, 'stopping with changes that are not on disk')
    }
    await this.#flusher.close()
    const text = 'the bucket is closing'
    await this.#durability.close(isDrained, new StatusError(Status.temporaryFailure, text))
    await this.#upkeep.ended()
    this.rangeScans.close()
    await this.snapshots.close()
    if (isDrained) noteCleanStop(this.#store, this.#options)
    await closeStore(this.#store)
  }

  /** Ends the threads of a bucket that could not be opened. */
  async #abandon(): Promise<void> {
    await this.#upkeep.stop()
    this.holds.close()
    await Promise.all([this.#flusher.close(), this.snapshots.close()])
  }

  #makeFlusher(): Flusher {
    const { settings } = this.#options
    return new Flusher({
      ...this.#options,
      ...this.#files(),
      retryMs: flushRetryMs,
      gatherMs: settings.commitIntervalSeconds * 1000,
      heldBytes: () => this.snapshots.heldBytes(),
      postponesCommit: () => this.#durability.postponesCommit(),
      logEnd: () => this.changes.end,
      onCommitted: (batch, upTo) => this.#committed(batch, upTo),
      onFailure: () => this.#gauge.announce(),
    })
  }

  #makeSnapshots(): SnapshotService {
    return new SnapshotService({
      ...this.#files(),
      clock: this.#options.clock,
      figures: [...this.#commits.figures().environments],
      onUnpinned: environment => this.#upkeep.compaction.consider(environment),
      whenShown: vbid => this.#vbuckets.whenShown(vbid),
    })
  }

  #files() {
    return { ...this.#options.settings, directories: this.#store.directories }
  }

  #room(): Room {
    const { environments } = this.#commits.figures()
    return { environments, heldBytes: this.snapshots.heldBytes() }
  }

  #admit(vbucket: Vbucket): Status {
    if (!vbucket.gate.isOpen) {
      const status = vbucket.gate.status(this.#options.clock.nowMs())
      if (status !== Status.success) return status
    }
    const isRefusing = this.#flusher.failure !== undefined || this.#closed !== undefined
    return isRefusing || this.#gauge.pressure === 'hard' ? Status.temporaryFailure : Status.success
  }

  #appended(): void {
    const { unflushedBytes } = this.changes
    this.#gauge.update(unflushedBytes)
    // Writers are made to wait when twice as much has gathered.
    const isMuch = unflushedBytes > this.#options.settings.unflushedSoftBytes / 2
    if (isMuch || this.#durability.waiters.isAwaited) this.#flusher.hurry()
    else this.#flusher.touch()
  }

  #committed(batch: CommittedBatch, upTo: number): void {
    // First let reads see the disk as it is now: then the log may forget.
    this.#disk.refresh()
    this.#commits.add(batch)
    this.snapshots.committed(batch.environments)
    for (const { vbid, highSeqno } of batch.persisted) {
      const vbucket = this.vbucket(vbid)
      if (vbucket === undefined || vbucket.diskHidden) continue
      vbucket.persistedSeqno = Math.max(vbucket.persistedSeqno, highSeqno)
    }
    this.changes.markCommitted(upTo)
    this.#gauge.update(this.changes.unflushedBytes)
    this.#durability.committed(upTo)
  }
}
