/**
 * One vbucket: its state, where its seqnos stand, its histories. All of a node's document
 * changes to it pass here, on one thread.
 */
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { StoredCollection } from '../storage/collection-record.ts'
import type { EraseResult, PurgeResult, VbucketChange } from '../storage/flusher-messages.ts'
import { nothingHeld, type Held } from '../storage/held.ts'
import { defaultCollection } from '../storage/record-key.ts'
import type { VbucketRecord } from '../storage/vbucket-record.ts'
import { CasClock } from './cas-clock.ts'
import { VbucketCollections } from './collections/vbucket-collections.ts'
import { FailoverLog } from './failover-log.ts'
import { WriteGate } from './write-gate.ts'

/** Seqnos of tombstones that were replaced while a purge was under way. */
export type ReplacedTombstones = number[]

export class Vbucket {
  readonly id: number
  readonly failoverLog: FailoverLog
  readonly casClock: CasClock
  readonly gate: WriteGate
  readonly collections: VbucketCollections
  /** Of the newest change; 0 before the first. */
  highSeqno: number
  /** Everything up to and with this seqno is on disk. */
  persistedSeqno: number
  /** Tombstones at or below this seqno may be gone. */
  purgeSeqno: number
  /** Documents that live, of all collections. */
  itemCount: number
  /** Of their keys and values, as they are stored. */
  documentBytes: number
  tombstoneCount: number
  /**
   * What is on disk under this vbid belongs to an earlier life of it and is being removed:
   * reads must not look there.
   */
  diskHidden = false
  #state: VbucketState
  #purging: Promise<void> | undefined
  readonly #purges = new Set<ReplacedTombstones>()
  readonly #watchers = new Set<() => void>()

  constructor(id: number, record: VbucketRecord, collections: readonly StoredCollection[] = []) {
    this.id = id
    this.#state = record.state as VbucketState
    this.failoverLog = FailoverLog.fromJSON(record.failoverLog)
    this.casClock = new CasClock(BigInt(`0x${record.maxCas}`))
    this.gate = new WriteGate(record.state === VbucketState.active ? 'open' : 'closed')
    this.highSeqno = record.highSeqno
    this.persistedSeqno = record.highSeqno
    this.purgeSeqno = record.purgeSeqno
    this.collections = new VbucketCollections(collections, record)
    const named = this.collections.heldByNamed()
    this.itemCount = record.items + named.items
    this.documentBytes = record.bytes + named.bytes
    this.tombstoneCount = record.tombstones
  }

  get state(): VbucketState {
    return this.#state
  }

  get isActive(): boolean {
    return this.#state === VbucketState.active
  }

  get maxCas(): bigint {
    return this.casClock.max
  }

  setState(state: VbucketState): void {
    this.#state = state
    if (state === VbucketState.active) this.gate.open()
    else this.gate.close()
  }

  /**
   * Calls `onAppend` after each change until the returned function is called. It runs on the
   * path of every write: it may set a flag, nothing more.
   */
  watch(onAppend: () => void): () => void {
    this.#watchers.add(onAppend)
    return () => this.#watchers.delete(onAppend)
  }

  /** A change has been appended. */
  notify(): void {
    if (this.#watchers.size === 0) return
    for (const onAppend of this.#watchers) onAppend()
  }

  /**
   * While a purge that may move `purgeSeqno` is being written: resolves when it has been. Who
   * decides by `purgeSeqno` whether a client can go on sets its hold, waits, then decides.
   */
  purgeSettled(): Promise<void> | undefined {
    return this.#purging
  }

  /**
   * A purge has been asked for. What it will remove are tombstones as of now: one that is replaced
   * before it is done must not be counted off twice.
   */
  beginPurge(): ReplacedTombstones {
    const replaced: ReplacedTombstones = []
    this.#purges.add(replaced)
    return replaced
  }

  endPurge(replaced: ReplacedTombstones, result: PurgeResult): void {
    this.#purges.delete(replaced)
    const { removed, purgeSeqno, purgeSeqnoBefore } = result
    const counted = replaced.filter(seqno => seqno > purgeSeqnoBefore && seqno <= purgeSeqno)
    this.tombstoneCount -= removed - counted.length
    this.purgeSeqno = Math.max(this.purgeSeqno, purgeSeqno)
  }

  /**
   * The newest change is that a collection was dropped: its documents are gone. Returns how many
   * bytes they had.
   */
  collectionDropped(id: number): number {
    const { items, bytes } = this.heldBy(id)
    this.collections.dropped(id, this.highSeqno)
    this.itemCount -= items
    this.documentBytes -= bytes
    return bytes
  }

  /** The documents that live in a collection. */
  heldBy(id: number): Held {
    const { collections } = this
    if (id !== defaultCollection) return collections.named.get(id) ?? nothingHeld
    if (!collections.hasDefault) return nothingHeld
    const named = collections.heldByNamed()
    return { items: this.itemCount - named.items, bytes: this.documentBytes - named.bytes }
  }

  /** Something of dropped collections has been removed from disk. */
  erased({ tombstones }: EraseResult): void {
    this.tombstoneCount -= tombstones
  }

  /** A change has taken the place of the tombstone with this seqno. */
  tombstoneReplaced(seqno: number): void {
    this.tombstoneCount--
    for (const replaced of this.#purges) replaced.push(seqno)
  }

  markPurging(purging: Promise<unknown>): void {
    const settled = purging
      .catch(() => undefined)
      .then(() => {
        if (this.#purging === settled) this.#purging = undefined
      })
    this.#purging = settled
  }

  /** What is stored of it besides its documents. */
  toChange(): VbucketChange {
    return {
      state: this.#state,
      failoverLog: this.failoverLog.toJSON(),
      maxCas: this.maxCas.toString(16),
    }
  }
}

/** A vbucket that has never held anything. */
export function newVbucketRecord(state: VbucketState, vbuuid: bigint): VbucketRecord {
  return {
    state,
    highSeqno: 0,
    purgeSeqno: 0,
    maxCas: '0',
    failoverLog: [{ vbuuid: vbuuid.toString(16), seqno: 0 }],
    items: 0,
    bytes: 0,
    tombstones: 0,
  }
}
