import type { DcpSession } from './dcp-session.ts'
import { Backoff } from './backoff.ts'
import type { StreamFilter } from './collection-selection.ts'
import type { Random } from '../random.ts'
import {
  historyOf,
  type History,
  type HistoryBranch,
  type Snapshot,
  type StreamPosition,
} from './stream-position.ts'

/**
 * ```
 *            +--------- connection lost, or ended by the server and worth another try ---------+
 *            v                                                                                 |
 *   idle -> opening -> open -------------------------------------------------------------------+
 *    ^        |          |
 *    |        |          +-> done (its end, or closed by us)
 *    |        +-> waiting (asked to try later)
 *    |        +-> rolling-back (until the consumer has gone back) --> idle
 *    +--- timer -----+
 * ```
 */
export type StreamPhase = 'idle' | 'opening' | 'open' | 'waiting' | 'rolling-back' | 'done'

/** What events of one snapshot on one connection have in common. */
export interface EventContext {
  readonly stream: VbucketStream
  readonly session: DcpSession
  readonly history: History
  readonly snapshot: Snapshot
}

export interface VbucketStreamOptions {
  readonly vbid: number
  readonly position: StreamPosition
  readonly endSeqno: number
  readonly filter: StreamFilter | undefined
  readonly random: Random
}

/**
 * One vbucket's stream, over all the connections it lives through. It has two positions:
 * *received* is what came in, and what the server is asked to go on from; *taken* is what the
 * consumer has, and what is saved. Between them are the events in the queue.
 */
export class VbucketStream {
  readonly vbid: number
  /** Where it shall end; `seqnoInfinity`: nowhere. */
  readonly endSeqno: number
  /** Of collections, for clients that asked for them. */
  readonly filter: StreamFilter | undefined
  phase: StreamPhase = 'idle'
  /** Of the stream request; what carries another one belongs to a stream that is over. */
  opaque = 0
  /** Was accepted at least once: from then on NOT_MY_VBUCKET is something that may pass. */
  wasOpen = false
  /** Rollbacks without a change in between: more than a few are a server that cannot decide. */
  rollbacksInRow = 0
  /** Events of this stream in the queue. */
  queued = 0
  readonly backoff: Backoff
  #receivedSeqno: number
  #received: { history: History; snapshot: Snapshot }
  #takenSeqno: number
  #taken: { history: History; snapshot: Snapshot }
  #context: EventContext | undefined

  constructor({ vbid, position, endSeqno, filter, random }: VbucketStreamOptions) {
    this.vbid = vbid
    this.endSeqno = endSeqno
    this.filter = filter
    this.backoff = new Backoff(random)
    this.#receivedSeqno = position.seqno
    this.#received = position
    this.#takenSeqno = position.seqno
    this.#taken = position
  }

  get received(): StreamPosition {
    const { history, snapshot } = this.#received
    return { history, seqno: this.#receivedSeqno, snapshot }
  }

  get taken(): StreamPosition {
    const { history, snapshot } = this.#taken
    return { history, seqno: this.#takenSeqno, snapshot }
  }

  get takenSeqno(): number {
    return this.#takenSeqno
  }

  /** What the end of a stream request has to be: never below what we have of a snapshot. */
  get requestEndSeqno(): number {
    return Math.max(this.endSeqno, this.#receivedSeqno, this.#received.snapshot.end)
  }

  /** The server accepted the stream. Until its first marker, the snapshot is the one presented. */
  opened(opaque: number, failoverLog: readonly HistoryBranch[], session: DcpSession): void {
    this.phase = 'open'
    this.opaque = opaque
    this.wasOpen = true
    const history = historyOf(failoverLog)
    const { snapshot } = this.#received
    this.#received = { history, snapshot }
    this.#context = { stream: this, session, history, snapshot }
    if (this.queued === 0) this.#taken = { history, snapshot: this.#taken.snapshot }
  }

  get context(): EventContext {
    return this.#context!
  }

  /**
   * A marker arrived. It does not move the position: as long as nothing of the new snapshot is
   * here, what is presented to the server is where the last one was left.
   */
  snapshotBegan(snapshot: Snapshot): EventContext {
    this.#context = { ...this.#context!, snapshot }
    return this.#context
  }

  /** Why an event at `seqno` cannot be, or `undefined` if it can. */
  objection(seqno: number): string | undefined {
    const { start, end } = this.#context!.snapshot
    if (seqno <= this.#receivedSeqno)
      return `vbucket ${this.vbid}: seqno ${seqno} after ${this.#receivedSeqno}`
    if (seqno < start || seqno > end)
      return `vbucket ${this.vbid}: seqno ${seqno} outside of its snapshot ${start} to ${end}`
    return undefined
  }

  /** Events up to `seqno` arrived, in the snapshot of `context`. */
  advance(seqno: number, context: EventContext): void {
    this.#receivedSeqno = seqno
    this.#received = context
  }

  /** The consumer has everything up to `seqno`. */
  take(seqno: number, context: EventContext): void {
    this.#takenSeqno = seqno
    this.#taken = context
  }

  /** Whether the newest that the consumer has came in it. */
  isTakenIn(context: EventContext): boolean {
    return this.#taken === context
  }

  /** Nothing is queued: what the consumer has is known under the newest history. */
  settle(): void {
    if (this.#takenSeqno === this.#receivedSeqno)
      this.#taken = { history: this.#received.history, snapshot: this.#taken.snapshot }
  }

  /** What arrived after `position` is void. */
  truncateReceived(position: StreamPosition): void {
    this.#receivedSeqno = position.seqno
    this.#received = position
  }

  /** The consumer has gone back to `position`. */
  truncateTaken(position: StreamPosition): void {
    this.#takenSeqno = position.seqno
    this.#taken = position
  }
}
