/**
 * The vbuckets of a bucket and their lives: made, put into a state, emptied, removed. What is in
 * memory changes at once; the disk follows, in the order in which it was asked for.
 *
 * A vbucket that begins anew while the disk still has its earlier life is hidden from the disk
 * (`diskHidden`) until that life is gone from there.
 */
import type { EventEmitter } from 'node:events'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { StatusError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { StoredCollection } from '../storage/collection-record.ts'
import type { FlushStep } from '../storage/flusher-messages.ts'
import type { Flusher } from '../storage/flusher.ts'
import type { PurgeHolds } from '../storage/holds.ts'
import type { SnapshotService } from '../storage/snapshots.ts'
import type { VbucketRecord } from '../storage/vbucket-record.ts'
import type { BucketEvents } from './bucket-options.ts'
import type { ChangeLog } from './change-log.ts'
import type { DocumentLocks } from './locks.ts'
import type { PersistenceWaiters } from './persistence.ts'
import type { Quota } from './quota.ts'
import { newVbucketRecord, Vbucket } from './vbucket.ts'

export interface VbucketTableOptions {
  count: number
  stored: ReadonlyMap<number, VbucketRecord>
  flusher: Flusher
  snapshots: SnapshotService
  changes: ChangeLog
  holds: PurgeHolds
  locks: DocumentLocks
  waiters: PersistenceWaiters
  random: Random
  events: EventEmitter<BucketEvents>
  quota: Quota
  /** By vbid. */
  collections: ReadonlyMap<number, StoredCollection[]>
  /** A vbucket takes writes from now on, and nobody has seen it yet. */
  onActive: (vbucket: Vbucket) => void
}

export class VbucketTable {
  readonly #options: VbucketTableOptions
  readonly #vbuckets: (Vbucket | undefined)[]
  /** How many removals of a vbucket are not on disk yet. */
  readonly #dropping = new Map<number, number>()

  constructor(options: VbucketTableOptions) {
    this.#options = options
    this.#vbuckets = Array.from({ length: options.count })
    for (const [vbid, record] of options.stored) {
      const vbucket = new Vbucket(vbid, record, options.collections.get(vbid))
      this.#vbuckets[vbid] = vbucket
      options.quota.usedBytes += vbucket.documentBytes
    }
  }

  get(vbid: number): Vbucket | undefined {
    return this.#vbuckets[vbid]
  }

  /** By vbid, with holes. */
  get all(): readonly (Vbucket | undefined)[] {
    return this.#vbuckets
  }

  *[Symbol.iterator](): Generator<Vbucket> {
    for (const vbucket of this.#vbuckets) if (vbucket) yield vbucket
  }

  /** See `Bucket.setState`. */
  setState(vbid: number, state: VbucketState): Promise<void> {
    this.#assertVbid(vbid)
    const { flusher, random, events } = this.#options
    const vbucket = this.#vbuckets[vbid]
    const before = vbucket?.state
    if (vbucket === undefined) this.#make(vbid, state)
    else {
      vbucket.setState(state)
      if (state === VbucketState.active && before !== state) {
        vbucket.failoverLog.branch(random.uint64(), vbucket.highSeqno)
      }
      flusher.step({ kind: 'vbucket', vbid, change: vbucket.toChange() })
    }
    if (before !== state) this.#activated(this.#vbuckets[vbid]!)
    if (before !== state) events.emit('state', vbid, before, state)
    if (state === VbucketState.active && before !== state) events.emit('failover-log', vbid)
    return flusher.drained()
  }

  /** See `Bucket.deleteVbucket`. */
  async delete(vbid: number): Promise<void> {
    this.#assertVbid(vbid)
    const { flusher, snapshots, events } = this.#options
    const vbucket = this.#vbuckets[vbid]
    if (vbucket === undefined) throw notMine(vbid)
    this.#vbuckets[vbid] = undefined
    this.#forget(vbucket)
    this.#dropping.set(vbid, (this.#dropping.get(vbid) ?? 0) + 1)
    flusher.step({ kind: 'drop', vbid })
    events.emit('vbucket-deleted', vbid)
    await flusher.drained()
    snapshots.forget(vbid)
    this.#dropping.set(vbid, this.#dropping.get(vbid)! - 1)
  }

  /** See `Bucket.flush`. */
  async flush(): Promise<void> {
    const { flusher, random, events } = this.#options
    const records: Extract<FlushStep, { kind: 'clear' }>['vbuckets'] = []
    const emptied: Vbucket[] = []
    for (const before of this) {
      const { id, state } = before
      this.#forget(before)
      const record = newVbucketRecord(state, random.uint64())
      const vbucket = new Vbucket(id, record)
      vbucket.diskHidden = true
      this.#vbuckets[id] = vbucket
      emptied.push(vbucket)
      records.push([id, record])
    }
    flusher.step({ kind: 'clear', vbuckets: records })
    for (const vbucket of emptied) this.#activated(vbucket)
    events.emit('flushed')
    await flusher.drained()
    for (const vbucket of emptied) this.#show(vbucket)
  }

  /** While the disk shows an earlier life of the vbucket: resolves when it no longer does. */
  whenShown(vbid: number): Promise<void> | undefined {
    return this.#vbuckets[vbid]?.diskHidden ? this.#options.flusher.drained() : undefined
  }

  #make(vbid: number, state: VbucketState): void {
    const { flusher, random } = this.#options
    const vbucket = new Vbucket(vbid, newVbucketRecord(state, random.uint64()))
    this.#vbuckets[vbid] = vbucket
    flusher.step({ kind: 'vbucket', vbid, change: vbucket.toChange() })
    if (!this.#dropping.get(vbid)) return
    vbucket.diskHidden = true
    flusher.drained().then(
      () => this.#show(vbucket),
      () => undefined,
    )
  }

  #activated(vbucket: Vbucket): void {
    if (vbucket.isActive) this.#options.onActive(vbucket)
  }

  /** The disk has nothing of the vbucket's earlier life any more. */
  #show(vbucket: Vbucket): void {
    const { id, highSeqno } = vbucket
    this.#options.snapshots.forget(id)
    if (this.#vbuckets[id] !== vbucket) return
    vbucket.persistedSeqno = this.#options.changes.committedSeqno(id, highSeqno)
    vbucket.diskHidden = false
  }

  #forget(vbucket: Vbucket): void {
    const { id } = vbucket
    const { changes, holds, locks, waiters, quota } = this.#options
    quota.usedBytes -= vbucket.documentBytes
    changes.forget(id)
    holds.releaseAll(id)
    locks.forget(id)
    waiters.forget(vbucket, notMine(id))
  }

  #assertVbid(vbid: number): void {
    if (vbid >= this.#vbuckets.length) throw notMine(vbid)
  }
}

export function notMine(vbid: number): StatusError {
  return new StatusError(Status.notMyVbucket, `vbucket ${vbid} is not here`)
}
