/**
 * A bucket: its vbuckets, the change log that they share, and the threads that put it on disk
 * and read it back. It builds these parts, connects them, and ends them in the right order.
 */
import { EventEmitter } from 'node:events'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Settings } from '../config/settings.ts'
import { StatusError, type OperatorError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Random } from '../random.ts'
import { DiskReader } from '../storage/disk-reader.ts'
import { Flusher } from '../storage/flusher.ts'
import type { CommittedBatch, EnvironmentFigures } from '../storage/flusher-messages.ts'
import { PurgeHolds } from '../storage/holds.ts'
import type { RecordView } from '../storage/record.ts'
import { SnapshotService } from '../storage/snapshots.ts'
import { figuresOf, markClean, openStore, type OpenStore } from '../storage/store.ts'
import { ChangeLog } from './change-log.ts'
import { DocumentFinder } from './document-finder.ts'
import { DocumentWriter } from './document-writer.ts'
import { Documents } from './documents.ts'
import { expireDue } from './expiry-pager.ts'
import { PersistenceWaiters } from './persistence.ts'
import { PressureGauge, type Pressure } from './pressure.ts'
import { Purger, type CompactRequest } from './purger.ts'
import { randomDocument } from './random-document.ts'
import { recoverVbuckets } from './recovery.ts'
import { newVbucketRecord, Vbucket } from './vbucket.ts'
import { MetaWriter } from './with-meta.ts'

export type BucketSettings = Pick<
  Settings,
  | 'mapSizeBytes'
  | 'readerSlotsMax'
  | 'changeLogBytes'
  | 'unflushedSoftBytes'
  | 'unflushedHardBytes'
  | 'valueBytesMax'
  | 'purgeAgeSeconds'
  | 'purgeIntervalSeconds'
  | 'expiryPagerIntervalSeconds'
  | 'backfillGraceSeconds'
>

export interface BucketOptions {
  directory: string
  settings: BucketSettings
  clock: Clock
  random: Random
  log: Log
  /** Size of one piece of the change log. */
  segmentBytes?: number
}

export interface BucketEvents {
  state: [vbid: number, before: VbucketState | undefined, after: VbucketState]
  'failover-log': [vbid: number]
  'vbucket-deleted': [vbid: number]
  flushed: []
  deleted: []
}

export interface BucketStatistics {
  items: number
  tombstones: number
  unflushedBytes: number
  changeLogBytes: number
  commits: number
  records: number
  commitMsTotal: number
  lastCommitMs: number
  expired: number
  purged: number
  purgePasses: number
  environments: readonly EnvironmentFigures[]
  failure: OperatorError | undefined
}

const defaultSegmentBytes = 4 * 1024 * 1024
const flushRetryMs = 1000
const holdStoreIntervalMs = 1000
const closePatienceMs = 10_000

export class Bucket {
  readonly name: string
  readonly uuid: string
  readonly vbucketCount: number
  readonly events = new EventEmitter<BucketEvents>()
  readonly changes: ChangeLog
  readonly documents: Documents
  readonly metaWriter: MetaWriter
  readonly holds: PurgeHolds
  readonly #options: BucketOptions
  readonly #store: OpenStore
  readonly #vbuckets: (Vbucket | undefined)[]
  readonly #disk: DiskReader
  readonly #gauge: PressureGauge
  readonly #waiters: PersistenceWaiters
  readonly #timers: Timer[] = []
  /** Vbuckets that were deleted and are still being removed from disk. */
  readonly #dropping = new Set<number>()
  #flusher!: Flusher
  #snapshots!: SnapshotService
  #purger!: Purger
  #figures: EnvironmentFigures[]
  #commits = 0
  #records = 0
  #commitMsTotal = 0
  #lastCommitMs = 0
  #expired = 0
  #passes = new Set<Promise<void>>()
  #closing = false

  private constructor(options: BucketOptions, store: OpenStore) {
    const { settings, clock, log } = options
    this.#options = options
    this.#store = store
    this.name = store.description.name
    this.uuid = store.description.uuid
    this.vbucketCount = store.description.vbuckets
    this.#vbuckets = Array.from({ length: this.vbucketCount })
    for (const [vbid, record] of store.vbuckets) this.#vbuckets[vbid] = new Vbucket(vbid, record)
    this.#figures = store.environments.map(figuresOf)
    this.#gauge = new PressureGauge(settings.unflushedSoftBytes, settings.unflushedHardBytes)
    this.changes = new ChangeLog({
      segmentBytes: options.segmentBytes ?? defaultSegmentBytes,
      retainBytes: settings.changeLogBytes,
      onSegment: (number, memory) => this.#flusher.addSegment(number, memory),
      onRelease: number => this.#flusher.releaseSegment(number),
    })
    this.#waiters = new PersistenceWaiters(this.changes)
    this.#disk = new DiskReader(store.environments, (vbid, seqno, cause) => {
      log.error({ vbid, seqno, error: String(cause) }, 'a page of the store is damaged')
    })
    const finder = new DocumentFinder(this.changes, this.#disk)
    const writer = new DocumentWriter(this.changes, clock, () => this.#appended())
    const admit = (vbucket: Vbucket) => this.#admit(vbucket)
    const { valueBytesMax } = settings
    this.documents = new Documents({ finder, writer, clock, valueBytesMax, admit })
    const { locks } = this.documents
    this.metaWriter = new MetaWriter({ finder, writer, locks, clock, valueBytesMax, admit })
    this.holds = new PurgeHolds(
      {
        clock,
        graceMs: settings.backfillGraceSeconds * 1000,
        storeIntervalMs: holdStoreIntervalMs,
        store: (vbid, holder, hold) => this.#flusher.step({ kind: 'hold', vbid, holder, hold }),
      },
      store.holds,
    )
  }

  /** Opens a bucket's directory and starts its threads. Fails with an OperatorError. */
  static async open(options: BucketOptions): Promise<Bucket> {
    const { directory, settings } = options
    const { mapSizeBytes, readerSlotsMax } = settings
    const store = await openStore({ directory, mapSizeBytes, readerSlotsMax })
    recoverVbuckets(store, options.random, options.log)
    const bucket = new Bucket(options, store)
    await bucket.#start()
    return bucket
  }

  vbucket(vbid: number): Vbucket | undefined {
    return this.#vbuckets[vbid]
  }

  *vbuckets(): Generator<Vbucket> {
    for (const vbucket of this.#vbuckets) if (vbucket) yield vbucket
  }

  get snapshots(): SnapshotService {
    return this.#snapshots
  }

  get pressure(): Pressure {
    return this.#gauge.pressure
  }

  /** Calls `listener` when the pressure changes, until the returned function is called. */
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
    this.#assertVbid(vbid)
    const vbucket = this.#vbuckets[vbid]
    const before = vbucket?.state
    if (vbucket === undefined) this.#make(vbid, state)
    else {
      vbucket.setState(state)
      if (state === VbucketState.active && before !== state) {
        vbucket.failoverLog.branch(this.#options.random.uint64(), vbucket.highSeqno)
      }
      this.#flusher.step({ kind: 'vbucket', vbid, change: vbucket.toChange() })
    }
    if (before !== state) this.events.emit('state', vbid, before, state)
    if (state === VbucketState.active && before !== state) this.events.emit('failover-log', vbid)
    return this.#flusher.drained()
  }

  /** Removes a vbucket and what it holds. Resolves when nothing of it is left on disk. */
  async deleteVbucket(vbid: number): Promise<void> {
    this.#assertVbid(vbid)
    if (this.#vbuckets[vbid] === undefined) throw notMine(vbid)
    this.#vbuckets[vbid] = undefined
    this.#forget(vbid)
    this.#dropping.add(vbid)
    this.#flusher.step({ kind: 'drop', vbid, keep: undefined })
    this.events.emit('vbucket-deleted', vbid)
    await this.#flusher.drained()
    this.#snapshots.forget(vbid)
    this.#dropping.delete(vbid)
    const madeAgain = this.vbucket(vbid)
    if (madeAgain) madeAgain.diskHidden = false
  }

  /** Empties the bucket: its vbuckets begin again at seqno 0. Resolves when that is on disk. */
  async flush(): Promise<void> {
    const emptied: Vbucket[] = []
    const records: [number, ReturnType<typeof newVbucketRecord>][] = []
    for (const { id, state } of this.vbuckets()) {
      this.#forget(id)
      const record = newVbucketRecord(state, this.#options.random.uint64())
      const vbucket = new Vbucket(id, record)
      vbucket.diskHidden = true
      this.#vbuckets[id] = vbucket
      emptied.push(vbucket)
      records.push([id, record])
    }
    this.#flusher.step({ kind: 'clear', vbuckets: records })
    this.events.emit('flushed')
    await this.#flusher.drained()
    for (const vbucket of emptied) {
      this.#snapshots.forget(vbucket.id)
      vbucket.diskHidden = false
    }
  }

  /** Purges tombstones of a vbucket as COMPACT_DB asks. Resolves when it is done. */
  compact(vbid: number, request: CompactRequest): Promise<void> {
    const vbucket = this.#vbuckets[vbid]
    if (vbucket === undefined) return Promise.reject(notMine(vbid))
    return this.#purger.compact(vbucket, request)
  }

  /** Calls `done` once everything written so far is on disk. */
  afterCommit(done: () => void): void {
    this.#waiters.afterAppended(done)
  }

  /** Resolves once the vbucket's change with this seqno is on disk. */
  whenPersisted(vbid: number, seqno: number): Promise<void> {
    const vbucket = this.#vbuckets[vbid]
    return vbucket ? this.#waiters.reached(vbucket, seqno) : Promise.reject(notMine(vbid))
  }

  /** A live document chosen at random, or undefined when there is none. */
  randomKey(): RecordView | undefined {
    const { documents, changes } = this
    const { random } = this.#options
    const vbuckets = this.#vbuckets
    return randomDocument({ vbuckets, documents, changes, disk: this.#disk, random })
  }

  statistics(): BucketStatistics {
    let items = 0
    let tombstones = 0
    for (const vbucket of this.vbuckets()) {
      items += vbucket.itemCount
      tombstones += vbucket.tombstoneCount
    }
    return {
      items,
      tombstones,
      unflushedBytes: this.changes.unflushedBytes,
      changeLogBytes: this.changes.retainedBytes,
      commits: this.#commits,
      records: this.#records,
      commitMsTotal: this.#commitMsTotal,
      lastCommitMs: this.#lastCommitMs,
      expired: this.#expired,
      purged: this.#purger.purged,
      purgePasses: this.#purger.passes,
      environments: this.#figures,
      failure: this.failure,
    }
  }

  /**
   * Ends the bucket with everything on disk. When the disk refuses, it gives up after a while:
   * what was not written is lost, and the next start takes this stop for an unclean one.
   */
  async close(): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    for (const timer of this.#timers) timer.cancel()
    this.holds.close()
    const isClean = await this.#drainedInTime()
    await this.#flusher.close()
    await Promise.allSettled(this.#passes)
    await this.#snapshots.close()
    if (isClean) markClean(this.#store.environments)
    for (const environment of this.#store.environments) await environment.close()
  }

  async #start(): Promise<void> {
    const { clock, log, settings } = this.#options
    const { mapSizeBytes, readerSlotsMax } = settings
    const threads = { directories: this.#store.directories, mapSizeBytes, readerSlotsMax }
    this.#flusher = await Flusher.start({
      ...threads,
      clock,
      log,
      retryMs: flushRetryMs,
      logEnd: () => this.changes.end,
      onCommitted: (batch, upTo) => this.#committed(batch, upTo),
      onFailure: () => undefined,
    })
    this.#snapshots = await SnapshotService.start({
      ...threads,
      clock,
      figures: this.#figures,
      whenShown: vbid => (this.#vbuckets[vbid]?.diskHidden ? this.#flusher.drained() : undefined),
    })
    const nowSeconds = () => Math.floor(clock.nowMs() / 1000)
    const { purgeAgeSeconds: ageSeconds } = settings
    this.#purger = new Purger({ flusher: this.#flusher, holds: this.holds, ageSeconds, nowSeconds })
    this.#every(settings.purgeIntervalSeconds, () =>
      this.#purger.pass(this.vbuckets(), () => this.#closing),
    )
    this.#every(settings.expiryPagerIntervalSeconds, () => this.#expire(nowSeconds))
  }

  /** Runs a pass at an interval, never two at a time. */
  #every(seconds: number, pass: () => Promise<void>): void {
    let running: Promise<void> | undefined
    const timer = this.#options.clock.every(seconds * 1000, () => {
      if (running || this.#closing) return
      running = pass()
        .catch(error => this.#options.log.error({ error: String(error) }, 'a pass failed'))
        .finally(() => {
          this.#passes.delete(running!)
          running = undefined
        })
      this.#passes.add(running)
    })
    this.#timers.push(timer)
  }

  async #expire(nowSeconds: () => number): Promise<void> {
    this.documents.locks.sweep(this.#options.clock.nowMs())
    const { documents } = this
    const vbucket = (vbid: number) => this.#vbuckets[vbid]
    const options = { disk: this.#disk, documents, vbucket, nowSeconds }
    this.#expired += await expireDue(options, () => this.#closing)
  }

  #make(vbid: number, state: VbucketState): void {
    const record = newVbucketRecord(state, this.#options.random.uint64())
    const vbucket = new Vbucket(vbid, record)
    vbucket.diskHidden = this.#dropping.has(vbid)
    this.#vbuckets[vbid] = vbucket
    this.#flusher.step({ kind: 'vbucket', vbid, change: vbucket.toChange() })
  }

  #forget(vbid: number): void {
    this.changes.forget(vbid)
    this.holds.releaseAll(vbid)
    this.documents.locks.forget(vbid)
  }

  #admit(vbucket: Vbucket): Status {
    if (!vbucket.gate.isOpen) {
      const state = vbucket.gate.state(this.#options.clock.nowMs())
      if (state === 'closed') return Status.notMyVbucket
      if (state === 'paused') return Status.temporaryFailure
    }
    if (this.#gauge.pressure === 'hard' || this.#flusher.failure !== undefined || this.#closing) {
      return Status.temporaryFailure
    }
    return Status.success
  }

  #appended(): void {
    this.#gauge.update(this.changes.unflushedBytes)
    this.#flusher.touch()
  }

  #committed(batch: CommittedBatch, upTo: number): void {
    // First let reads see the disk as it is now: then the log may forget.
    this.#disk.refresh()
    this.#figures = batch.environments
    this.#snapshots.committed(batch.environments)
    for (const { vbid, highSeqno } of batch.persisted) {
      const vbucket = this.#vbuckets[vbid]
      if (vbucket === undefined || vbucket.diskHidden) continue
      vbucket.persistedSeqno = Math.max(vbucket.persistedSeqno, highSeqno)
    }
    this.changes.markCommitted(upTo)
    this.#commits++
    this.#records += batch.records
    this.#commitMsTotal += batch.commitMs
    this.#lastCommitMs = batch.commitMs
    this.#gauge.update(this.changes.unflushedBytes)
    this.#waiters.committed(upTo)
  }

  async #drainedInTime(): Promise<boolean> {
    let timer: Timer | undefined
    const late = new Promise<false>(resolve => {
      timer = this.#options.clock.after(closePatienceMs, () => resolve(false))
    })
    const isClean = await Promise.race([this.#flusher.drained().then(() => true), late])
    timer?.cancel()
    if (!isClean) {
      const { unflushedBytes } = this.changes
      this.#options.log.error({ unflushedBytes }, 'stopping with changes that are not on disk')
    }
    return isClean
  }

  #assertVbid(vbid: number): void {
    if (vbid >= this.vbucketCount) throw notMine(vbid)
  }
}

function notMine(vbid: number): StatusError {
  return new StatusError(Status.notMyVbucket, `vbucket ${vbid} is not here`)
}
