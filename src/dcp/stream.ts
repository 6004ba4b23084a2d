/**
 * One stream of one vbucket.
 *
 *            backfill prepared            whole snapshot sent
 *   open ------------------> backfilling --------------------+
 *     |                          ^                           v
 *     +--------------------------|---------------------> in memory
 *       log reaches back         +---------------------------+
 *                                  log does not reach back any more
 *
 *   any --> ended: end seqno reached, or for one of the reasons of STREAM_END
 *
 * Between two phases nothing is lost: a phase begins exactly behind what the one before has sent,
 * and a snapshot on disk reaches at least to where the log begins.
 */
import { encodeSnapshotMarker, snapshotMarkerLength } from '../../protocol/dcp/snapshot-marker.ts'
import { StreamEndReason, streamEndReasonName } from '../../protocol/dcp/stream-end.ts'
import type { Clock } from '../clock.ts'
import { invariant } from '../errors.ts'
import type { Scan } from '../storage/pin.ts'
import { RecordFilter } from '../storage/record-filter.ts'
import type { FrameForm } from '../storage/record-frame.ts'
import type { ScanSlab } from '../storage/snapshot.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { Backfill, type BackfillPlan } from './backfill.ts'
import type { MarkerVersion } from '../../protocol/dcp/snapshot-marker.ts'
import { defaultCollection } from '../storage/record-key.ts'
import type { Manifest } from '../vbucket/collections/manifest.ts'
import { sendMessage } from './message.ts'
import type { HeldSnapshot } from './parking/held-snapshot.ts'
import { InMemoryPhase } from './in-memory.ts'
import type { Outbox } from './outbox.ts'
import { slotOf, type StreamScope } from './stream-scope.ts'
import type { ScanTurns, TurnTaker } from './scan-turns.ts'

/** What a stream needs of its connection. */
export interface StreamHost {
  readonly bucket: Bucket
  readonly clock: Clock
  readonly outbox: Outbox
  readonly turns: ScanTurns
  readonly markerVersion: MarkerVersion
  /** The stream has something to send. */
  wake(stream: Stream): void
  sent(stream: Stream, progress: Progress): void
  ended(stream: Stream): void
  /** Prepares a further backfill of the stream. */
  prepareBackfill(stream: Stream, atLeastSeqno: number): Promise<BackfillPlan | StreamEndReason>
}

/** What a step has sent. */
export interface Progress {
  /** Of the last frame. */
  seqno: number
  /** Where a client that has it goes back to, should a crash lose the rest of its snapshot. */
  safeSeqno: number
  bytes: number
  /** A held snapshot that is whole with it. */
  completes: HeldSnapshot | undefined
}

export interface StreamOptions {
  host: StreamHost
  scope: StreamScope
  vbucket: Vbucket
  startSeqno: number
  endSeqno: number
  activeOnly: boolean
  diskOnly: boolean
  /** Purged tombstones up to this seqno do not matter to the client. */
  toleratedPurgeSeqno: number
  /** Of the history that the client was told it follows. */
  vbuuid: bigint
  form: FrameForm
}

export type StreamPhase = 'backfilling' | 'in-memory' | 'ended'

export class Stream implements TurnTaker {
  readonly vbucket: Vbucket
  readonly options: StreamOptions
  readonly openedSeqno: number
  /** Of its connection's streams, see stream-scope.ts. */
  readonly slot: number
  endReason: StreamEndReason | undefined
  /** What a backfill failed with. */
  failure: string | undefined
  /** Set by the host: it is in the queue of those that may send. */
  isAwake = false
  backfills = 0
  sentBytes = 0
  /** Monotonic: when it last sent something, or began. */
  activeAtMs: number
  readonly #host: StreamHost
  readonly #filter: RecordFilter
  /** Of the collections that it names, those that are there. */
  readonly #remaining: Set<number>
  /** Behind this seqno there is nothing any more that it could bring. */
  #goneSeqno = Infinity
  #backfill: Backfill | undefined
  #memory: InMemoryPhase | undefined
  /** Everything up to here has been sent, is nothing for the client, or will be sent in a newer version. */
  #cursor: number
  /** Of the last frame sent: where the client is. */
  #sentSeqno: number
  #snapshotEnd: number
  #isPreparing = false
  #unwatch: (() => void) | undefined

  constructor(options: StreamOptions) {
    this.options = options
    this.vbucket = options.vbucket
    this.openedSeqno = options.startSeqno
    this.slot = slotOf(options.scope)
    this.#filter = new RecordFilter(options.form)
    const { isAware, collections } = options.scope
    this.#remaining = new Set(isAware ? collections : [defaultCollection])
    this.#host = options.host
    this.#cursor = options.startSeqno
    this.#sentSeqno = options.startSeqno
    this.#snapshotEnd = options.startSeqno
    this.activeAtMs = options.host.clock.monotonicMs()
  }

  get vbid(): number {
    return this.vbucket.id
  }
  get opaque(): number {
    return this.options.form.opaque
  }
  get cursor(): number {
    return this.#cursor
  }
  get snapshotEnd(): number {
    return this.#snapshotEnd
  }
  get hasEnded(): boolean {
    return this.endReason !== undefined
  }
  /** Of the snapshot it reads, if it does. */
  get snapshotId(): number | undefined {
    return this.#backfill?.snapshotId
  }
  get phase(): StreamPhase {
    if (this.hasEnded) return 'ended'
    return this.#memory === undefined ? 'backfilling' : 'in-memory'
  }

  /** Begins with the backfill prepared, or in memory. Sends nothing before the next step. */
  begin(plan: BackfillPlan | undefined): void {
    if (plan !== undefined) {
      this.#startBackfill(plan)
      return
    }
    if (this.#cursor < this.options.endSeqno) this.#enterMemory()
    this.#host.wake(this)
  }

  /**
   * Sends up to `room` bytes, or one frame more; true if there may be more to send right away.
   * What ended the stream is left to the host to announce.
   */
  step(room: number): boolean {
    if (this.hasEnded) return false
    if (this.#backfill !== undefined) return this.#stepBackfill(this.#backfill, room)
    // Within a snapshot the client may lack what comes in a newer version only behind the end.
    if (this.#cursor >= Math.max(this.options.endSeqno, this.#snapshotEnd)) {
      this.end(StreamEndReason.ok)
      return false
    }
    return this.#memory === undefined ? false : this.#stepMemory(this.#memory, room)
  }

  /** The manifest is another one; `dropped` are ids that are not in it any more. */
  manifestChanged(dropped: readonly number[]): void {
    const { manifest } = this.#host.bucket.collections
    const { isAware, collections, scopeId } = this.options.scope
    let isGone = false
    if (scopeId !== undefined) {
      this.#enlarge(manifest, scopeId)
      isGone = manifest.scope(scopeId) === undefined
    } else if (!isAware || collections !== undefined) {
      for (const id of dropped) this.#remaining.delete(id)
      isGone = this.#remaining.size === 0
    }
    if (!isGone || this.#goneSeqno < Infinity) return
    // The event that says so is the newest by now, or before that.
    this.#goneSeqno = this.vbucket.highSeqno
    this.#host.wake(this)
  }

  /** No more is sent. Idempotent. */
  end(reason: StreamEndReason): void {
    if (this.hasEnded) return
    this.endReason = reason
    this.#unwatch?.()
    this.#memory = undefined
    this.#closeBackfill()
    this.#host.ended(this)
  }

  /** Of the backfill that takes turns. */
  get scan(): Scan {
    invariant(this.#backfill, 'who waits for a turn has a backfill')
    return this.#backfill.scan
  }

  arrived(slab: ScanSlab): void {
    this.#backfill!.take(slab)
    this.#host.wake(this)
  }

  readFailed(error: unknown): void {
    if (!this.hasEnded) this.failure = String(error)
    this.end(StreamEndReason.backfillFailed)
  }

  describeEnd(): string {
    return this.endReason === undefined ? '' : streamEndReasonName(this.endReason)
  }

  #startBackfill(plan: BackfillPlan): void {
    const { outbox, turns } = this.#host
    const { form } = this.options
    this.backfills++
    this.#cursor = plan.afterSeqno
    this.#sentSeqno = plan.afterSeqno
    this.#snapshotEnd = plan.snapshotEnd
    this.#backfill = new Backfill({
      ...plan,
      vbid: this.vbid,
      outbox,
      form,
      writeMarker: (start, end, flags, purge) => this.#writeMarker(start, end, flags, purge),
    })
    turns.begin(this)
  }

  #stepBackfill(backfill: Backfill, room: number): boolean {
    const before = this.#host.outbox.writtenBytes
    const step = backfill.step(room)
    const bytes = this.#host.outbox.writtenBytes - before
    if (bytes > 0) {
      this.#countSent(bytes)
      const seqno = backfill.sentSeqno
      this.#cursor = seqno
      this.#sentSeqno = seqno
      const completes = step === 'whole' ? backfill.held : undefined
      this.#host.sent(this, { seqno, safeSeqno: seqno, bytes, completes })
    }
    if (step === 'next') this.#host.turns.again(this)
    if (step !== 'whole') return step === 'more'
    this.#cursor = backfill.coveredSeqno
    this.#closeBackfill()
    if (this.#isAtItsEnd()) return false
    if (this.options.diskOnly) this.#returnToDisk()
    else this.#enterMemory()
    return this.#memory !== undefined
  }

  #stepMemory(memory: InMemoryPhase, room: number): boolean {
    const before = this.#host.outbox.writtenBytes
    const step = memory.step(room)
    const bytes = this.#host.outbox.writtenBytes - before
    this.#cursor = memory.cursor
    this.#sentSeqno = memory.sentSeqno
    this.#snapshotEnd = memory.snapshotEnd
    if (bytes > 0) {
      this.#countSent(bytes)
      const { sentSeqno: seqno, safeSeqno } = memory
      this.#host.sent(this, { seqno, safeSeqno, bytes, completes: undefined })
    }
    if (step === 'behind') this.#returnToDisk()
    // Also when nothing is left to send: what was dropped may have been all along.
    if (step === 'whole' || step === 'idle') this.#isAtItsEnd()
    return !this.hasEnded && (step === 'more' || step === 'whole')
  }

  /** At the end of a snapshot: ends the stream if nothing can follow. */
  #isAtItsEnd(): boolean {
    if (this.#cursor >= this.options.endSeqno) this.end(StreamEndReason.ok)
    else if (this.#cursor >= this.#goneSeqno) this.end(StreamEndReason.filterEmpty)
    return this.hasEnded
  }

  #enlarge(manifest: Manifest, scopeId: number): void {
    const { filter } = this.options.form
    for (const { id } of manifest.scope(scopeId)?.collections ?? []) {
      if (filter?.collections.includes(id)) continue
      // The one is for the backfill thread, the other for what comes from memory.
      filter?.collections.push(id)
      this.#filter.add(id)
    }
  }

  #countSent(bytes: number): void {
    this.sentBytes += bytes
    this.activeAtMs = this.#host.clock.monotonicMs()
  }

  #enterMemory(): void {
    const { bucket, outbox } = this.#host
    this.#memory = new InMemoryPhase({
      vbucket: this.vbucket,
      changes: bucket.changes,
      outbox,
      form: this.options.form,
      filter: this.#filter,
      afterSeqno: this.#cursor,
      sentSeqno: this.#sentSeqno,
      // A client must not be told of purges above what it has: it would take them for seen.
      writeMarker: (start, end, flags) =>
        this.#writeMarker(start, end, flags, Math.min(start, this.vbucket.purgeSeqno)),
    })
    this.#unwatch ??= this.vbucket.watch(() => {
      if (!this.isAwake && this.#memory !== undefined) this.#host.wake(this)
    })
  }

  /** The log has given up changes that are still to be sent. */
  #returnToDisk(): void {
    this.#memory = undefined
    // What was passed over as superseded is sent from disk in its newer version: the client stands
    // where the last frame has left it.
    this.#cursor = this.#sentSeqno
    if (this.#isPreparing) return
    this.#isPreparing = true
    // The client was promised a snapshot up to its end: the one from disk must not end before.
    const { vbucket } = this
    const lowest = this.#host.bucket.changes.lowestSeqno(vbucket.id, vbucket.highSeqno)
    const atLeastSeqno = Math.max(this.#snapshotEnd, lowest - 1)
    this.#host.prepareBackfill(this, atLeastSeqno).then(
      plan => {
        this.#isPreparing = false
        if (typeof plan === 'number') this.end(plan)
        else if (this.hasEnded) plan.reference.release()
        else this.#startBackfill(plan)
      },
      (error: unknown) => this.readFailed(error),
    )
  }

  #closeBackfill(): void {
    if (this.#backfill === undefined) return
    this.#backfill.close()
    this.#backfill = undefined
    this.#host.turns.end(this)
  }

  #writeMarker(startSeqno: number, endSeqno: number, flags: number, purgeSeqno: number): void {
    const { outbox, markerVersion } = this.#host
    const { streamId } = this.options.scope
    const length = snapshotMarkerLength(markerVersion)
    sendMessage(outbox, streamId, length, encodeSnapshotMarker, {
      opaque: this.opaque,
      vbid: this.vbid,
      version: markerVersion,
      startSeqno,
      endSeqno,
      flags,
      maxVisibleSeqno: endSeqno,
      highCompletedSeqno: 0,
      purgeSeqno,
      highPreparedSeqno: 0,
    })
  }
}
