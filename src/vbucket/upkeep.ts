/**
 * What a bucket does by itself, besides serving: purges tombstones, expires what nobody reads, erases
 * what dropped collections held, and writes files anew that are mostly free.
 */
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import type { DiskReader } from '../storage/disk-reader.ts'
import type { Environment } from '../storage/environment.ts'
import type { Flusher } from '../storage/flusher.ts'
import type { PurgeHolds } from '../storage/holds.ts'
import { OnlineCompaction } from '../storage/online-compaction.ts'
import type { SnapshotService } from '../storage/snapshots.ts'
import type { BucketSettings } from './bucket-options.ts'
import type { CommitCounter } from './bucket-statistics.ts'
import type { ChangeLog } from './change-log.ts'
import { Eraser } from './collections/eraser.ts'
import type { Documents } from './documents.ts'
import { expireDue } from './expiry-pager.ts'
import { Passes } from './passes.ts'
import { Purger } from './purger.ts'
import type { VbucketTable } from './vbucket-table.ts'

export interface UpkeepOptions {
  settings: BucketSettings
  clock: Clock
  log: Log
  flusher: Flusher
  holds: PurgeHolds
  snapshots: SnapshotService
  environments: Environment[]
  commits: CommitCounter
  changes: ChangeLog
  vbuckets: VbucketTable
  disk: DiskReader
  documents: Documents
}

export class Upkeep {
  readonly purger: Purger
  readonly eraser: Eraser
  readonly compaction: OnlineCompaction
  readonly #options: UpkeepOptions
  readonly #passes: Passes
  #isStopped = false
  /** Documents expired since the start. */
  expired = 0

  constructor(options: UpkeepOptions) {
    this.#options = options
    const { clock, log, settings, changes, commits, disk, snapshots } = options
    const { mapSizeBytes, readerSlotsMax, compactBytesMax } = settings
    this.#passes = new Passes(clock, log)
    const nowSeconds = () => this.#nowSeconds()
    this.purger = new Purger({ ...options, nowSeconds, ageSeconds: settings.purgeAgeSeconds })
    this.eraser = new Eraser(options)
    this.compaction = new OnlineCompaction({
      ...options,
      mapSizeBytes,
      readerSlotsMax,
      compactBytesMax,
      memory: () => changes.memory,
      figures: () => commits.figures().environments,
      onReplaced: (environment, figures) => {
        disk.replaced(environment)
        commits.compacted(figures)
        snapshots.committed(figures)
      },
    })
  }

  start(): void {
    const { purgeIntervalSeconds, expiryPagerIntervalSeconds } = this.#options.settings
    this.#passes.every(purgeIntervalSeconds, () => this.#purge())
    this.#passes.every(expiryPagerIntervalSeconds, () => this.#expire())
    this.eraser.wake()
  }

  /** What is under way ends with the step that it is in. Resolves once commits wait for none of it. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#passes.stop()
    this.purger.stop()
    this.eraser.stop()
    await this.compaction.close()
  }

  async ended(): Promise<void> {
    await Promise.all([this.#passes.ended(), this.eraser.ended()])
  }

  async #purge(): Promise<void> {
    await this.purger.pass()
    // What it has made free may be most of a file.
    this.#options.environments.forEach((_, index) => this.compaction.consider(index))
  }

  async #expire(): Promise<void> {
    const { disk, documents, vbuckets, clock } = this.#options
    documents.locks.sweep(clock.nowMs())
    const nowSeconds = () => this.#nowSeconds()
    const options = { disk, documents, vbucket: (vbid: number) => vbuckets.get(vbid), nowSeconds }
    this.expired += await expireDue(options, () => this.#isStopped)
  }

  #nowSeconds(): number {
    return Math.floor(this.#options.clock.nowMs() / 1000)
  }
}
