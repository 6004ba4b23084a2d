/**
 * Opens streams: decides whether a client may go on from where it is, finds the snapshot in which
 * it does, and answers. Everything a stream needs before its first frame happens here, so that a
 * client that cannot be served learns it from the answer.
 *
 * A purge must not overtake the decision: one that is under way is waited for, and only then the
 * purge seqno is looked at; where more has to be waited for, a hold is set meanwhile.
 */
import { encodeFailoverLog } from '../../protocol/dcp/failover-log.ts'
import { StreamEndReason } from '../../protocol/dcp/stream-end.ts'
import type { StreamRequest } from '../../protocol/dcp/stream-request.ts'
import { Status } from '../../protocol/status.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import type { BackfillPlan } from './backfill.ts'
import { pinBackfill, resumeBackfill, shareBackfill } from './backfill-plan.ts'
import type { BackfillPosition, PinRefusal } from './backfill-plan.ts'
import type { Opening } from './opening-turns.ts'
import type { Match } from './parking/matching.ts'
import type { ProducerCore } from './producer-core.ts'
import { findHeld, letGoOthers } from './resumption.ts'
import { decideRollback } from './rollback.ts'
import { Stream } from './stream.ts'
import {
  refusal,
  refuseScope,
  rollBack,
  type StreamAnswer,
  type StreamAsker,
} from './stream-answer.ts'
import { mayRead, readStreamRequest, type WantedStream } from './stream-request.ts'
import { filterOf, holderOf, scopeStatus, slotOf } from './stream-scope.ts'

/** Streams of one vbucket that a connection may have. */
const streamsPerVbucketMax = 64

function streamsOf({ streams, opening }: ProducerCore, vbid: number): number {
  let count = 0
  for (const slot of [...streams.keys(), ...opening.keys()]) if ((slot & 0xffff) === vbid) count++
  return count
}

/** Answers at once what need not be decided, and everything else in a turn of its own. */
export function openStream(
  producer: ProducerCore,
  request: StreamRequest,
  asker: StreamAsker,
): void {
  const { vbid } = request
  const vbucket = producer.bucket.vbucket(vbid)
  if (vbucket === undefined) return asker.reply(refusal(Status.notMyVbucket))
  const { isAware, negotiated } = producer
  const { streamIds } = negotiated
  const wanted = readStreamRequest(request, vbucket, { isAware, streamIds })
  if (typeof wanted === 'number') return asker.reply(refusal(wanted))
  const { scope } = wanted
  const isThere = scopeStatus(scope, producer.bucket.collections.manifest)
  if (isThere !== Status.success) return asker.reply(refuseScope(producer, isThere))
  const slot = slotOf(scope)
  if (producer.streams.has(slot) || producer.opening.has(slot)) {
    return asker.reply(refusal(Status.keyExists))
  }
  if (streamIds && streamsOf(producer, vbid) >= streamsPerVbucketMax) {
    return asker.reply(refusal(Status.temporaryFailure))
  }
  const match = findHeld(producer, scope, wanted)
  const isServed = match !== undefined && match.kind !== 'received'
  if (isServed && wanted.start < endOf(wanted, vbucket)) {
    return asker.reply(resume(producer, vbucket, wanted, match))
  }
  const opening = new StreamOpening(producer, vbucket, wanted, match, asker)
  producer.opening.set(slot, opening)
  producer.openingTurns.wait(opening)
}

/** Commands are worked on in order, but a stream request may still wait for its turn or the disk. */
export function closeOpening({ opening }: ProducerCore, slot: number): Status {
  const request = opening.get(slot)
  if (request === undefined || request.isClosed) return Status.keyNotFound
  request.isClosed = true
  return Status.success
}

/** A stream request that has not been answered. */
export class StreamOpening implements Opening {
  /** Closed before it was opened: if it is accepted, it ends before its first frame. */
  isClosed = false
  readonly #producer: ProducerCore
  readonly #vbucket: Vbucket
  readonly #wanted: WantedStream
  readonly #match: Match | undefined
  readonly #asker: StreamAsker
  #answer: StreamAnswer | undefined
  /** For a pin of others: once, or it might do so for ever. */
  #hasWaited = false

  constructor(
    producer: ProducerCore,
    vbucket: Vbucket,
    wanted: WantedStream,
    match: Match | undefined,
    asker: StreamAsker,
  ) {
    this.#producer = producer
    this.#vbucket = vbucket
    this.#wanted = wanted
    this.#match = match
    this.#asker = asker
  }

  get areOthersServed(): boolean {
    return this.#producer.bucket.snapshots.areOthersServed
  }

  /** Most requests have nothing to wait for: those cost neither a promise nor a hold. */
  decide(): void {
    try {
      const purge = this.#vbucket.purgeSettled()
      const decided = purge === undefined ? this.#decide() : purge.then(() => this.#decide())
      if (decided instanceof Promise) void this.#await(decided)
      else if (decided !== undefined) this.#end(decided)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Tells what was decided. */
  reply(): void {
    this.#asker.reply(this.#answer!)
  }

  /** Whatever is decided, no purge passes the client meanwhile. */
  async #await(decided: Promise<StreamAnswer | undefined>): Promise<void> {
    const { holder, bucket } = this.#producer
    const { id: vbid } = this.#vbucket
    const guard = `${holderOf(holder, this.#wanted.scope.streamId)} request`
    bucket.holds.set(vbid, guard, this.#wanted.start, Infinity, false)
    try {
      const answer = await decided
      if (answer !== undefined) this.#end(answer)
    } catch (error) {
      this.#fail(error)
    } finally {
      bucket.holds.release(vbid, guard)
    }
  }

  #end(decided: StreamAnswer): void {
    const { opening, streams } = this.#producer
    const slot = slotOf(this.#wanted.scope)
    opening.delete(slot)
    if (this.isClosed) streams.get(slot)?.end(StreamEndReason.closed)
    this.#answer = decided
    this.#producer.answered(this)
  }

  #fail(error: unknown): void {
    this.#producer.opening.delete(slotOf(this.#wanted.scope))
    this.#asker.fail(error)
  }

  /** undefined: its turn comes again, when a snapshot is there that it may share. */
  #decide(): StreamAnswer | Promise<StreamAnswer> | undefined {
    const producer = this.#producer
    const vbucket = this.#vbucket
    const wanted = this.#wanted
    const changed = this.#refusalNow()
    if (changed !== undefined) return changed
    const decision = decideRollback(
      { ...wanted, resumable: producer.deliveries !== undefined },
      {
        failoverLog: vbucket.failoverLog.entries,
        highSeqno: vbucket.highSeqno,
        purgeSeqno: vbucket.purgeSeqno,
      },
    )
    if (decision.rollbackTo !== undefined) return rollBack(producer, wanted, decision)
    wanted.end = endOf(wanted, vbucket)
    if (wanted.start > wanted.end) return refusal(Status.outOfRange)
    const position = backfillPosition(producer, vbucket, wanted)
    if (position === undefined) return this.#begin(undefined)
    // What is on disk of an emptied vbucket belongs to its life before.
    if (vbucket.diskHidden) return this.#begin(StreamEndReason.backfillFailed)
    const shared = shareBackfill(producer, vbucket, position)
    if (shared !== undefined) return this.#begin(shared)
    const underWay = producer.bucket.snapshots.pinUnderWay(vbucket.id)
    if (underWay !== undefined && !this.#hasWaited) {
      this.#hasWaited = true
      producer.openingTurns.waitFor(underWay, this)
      return undefined
    }
    return pinBackfill(producer, vbucket, position).then(plan => this.#begin(plan))
  }

  #begin(plan: BackfillPlan | PinRefusal | undefined): StreamAnswer {
    const producer = this.#producer
    const vbucket = this.#vbucket
    const wanted = this.#wanted
    if (plan === StreamEndReason.backfillFailed) return refusal(Status.temporaryFailure)
    if (plan === StreamEndReason.rollback) {
      const reason = 'tombstones were purged while the request was decided'
      return rollBack(producer, wanted, { rollbackTo: 0, reason })
    }
    const late = this.#refusalNow()
    if (late !== undefined) {
      plan?.reference.release()
      plan?.held?.reference.release()
      return late
    }
    letGoOthers(producer, wanted.scope, wanted.start, this.#match)
    producer.deliveries?.open(wanted.scope, wanted.start)
    if (plan?.held !== undefined) producer.deliveries!.hold(plan.held)
    return accept(producer, vbucket, wanted, plan)
  }

  /** What may have changed while something was waited for. */
  #refusalNow(): StreamAnswer | undefined {
    const { bucket, isClosed } = this.#producer
    const { scope, activeOnly } = this.#wanted
    if (isClosed) return refusal(Status.temporaryFailure)
    const isHere = bucket.vbucket(this.#vbucket.id) === this.#vbucket
    if (!isHere || !mayRead(this.#vbucket, activeOnly)) return refusal(Status.notMyVbucket)
    const isThere = scopeStatus(scope, bucket.collections.manifest)
    return isThere === Status.success ? undefined : refuseScope(this.#producer, isThere)
  }
}

/** On a snapshot that was kept there is nothing to decide: it is complete as it is. */
function resume(
  producer: ProducerCore,
  vbucket: Vbucket,
  wanted: WantedStream,
  { held }: Match,
): StreamAnswer {
  const { start, scope } = wanted
  const { log, counters, clock, deliveries } = producer
  const awayMs = held.parkedAtMs === undefined ? 0 : clock.nowMs() - held.parkedAtMs
  letGoOthers(producer, scope, start, { kind: 'within', held })
  const plan = resumeBackfill(producer, held, wanted)
  deliveries!.open(scope, start)
  deliveries!.hold(plan.held!)
  counters.resumed++
  producer.resumed++
  counters.bytesNotSentAgain += plan.held!.sentBytes
  const { snapshotStart, snapshotEnd } = held
  log.debug({ vbid: vbucket.id, start, snapshotStart, snapshotEnd, awayMs }, 'snapshot resumed')
  wanted.end = endOf(wanted, vbucket)
  return accept(producer, vbucket, wanted, plan)
}

/** What is to be read from disk; undefined: what is wanted is in memory. */
function backfillPosition(
  producer: ProducerCore,
  vbucket: Vbucket,
  wanted: WantedStream,
): BackfillPosition | undefined {
  const { start, end, diskOnly, activeOnly, toleratedPurgeSeqno, scope } = wanted
  if (start === end) return undefined
  const lowest = producer.bucket.changes.lowestSeqno(vbucket.id, vbucket.highSeqno)
  // Who begins with nothing misses none of the tombstones that are gone; but cut off in the middle,
  // it could only say that it was somewhere below them. A snapshot that is kept knows better.
  const isBehindPurge = start === 0 && vbucket.purgeSeqno > 0 && producer.deliveries !== undefined
  if (!diskOnly && !isBehindPurge && lowest <= start + 1) return undefined
  // A snapshot that ends before the purge seqno would be followed by a gap: tombstones behind its end
  // are gone. One that others have pinned may be that old, as nothing held the purger back then.
  //
  // In the middle of a snapshot a client lacks what was superseded within it: the new one has to
  // reach as far.
  const isWithin = start > wanted.snapshotStart && start < wanted.snapshotEnd
  const atLeastSeqno = Math.max(
    start + 1,
    Math.min(lowest - 1, vbucket.highSeqno),
    vbucket.purgeSeqno,
    isWithin ? wanted.snapshotEnd : 0,
    diskOnly ? end : 0,
  )
  return { scope, afterSeqno: start, atLeastSeqno, activeOnly, toleratedPurgeSeqno }
}

function accept(
  producer: ProducerCore,
  vbucket: Vbucket,
  wanted: WantedStream,
  plan: BackfillPlan | undefined,
): StreamAnswer {
  const { start, end, activeOnly, diskOnly, toleratedPurgeSeqno, opaque, scope } = wanted
  const { expiryOpcode } = producer.negotiated
  const { entries, vbuuid } = vbucket.failoverLog
  const stream = new Stream({
    host: producer.host,
    scope,
    vbucket,
    startSeqno: start,
    endSeqno: end,
    activeOnly,
    diskOnly,
    toleratedPurgeSeqno,
    vbuuid,
    form: {
      ...producer.form,
      opaque,
      expiryOpcode,
      collections: scope.isAware,
      filter: filterOf(scope, producer.bucket.collections.manifest),
      streamId: scope.streamId,
    },
  })
  producer.streams.set(slotOf(scope), stream)
  producer.counters.streamsOpened++
  const from = plan === undefined ? 'memory' : 'disk'
  producer.log.debug({ vbid: vbucket.id, start, end, from }, 'stream opened')
  stream.begin(plan)
  return { status: Status.success, value: encodeFailoverLog(entries) }
}

function endOf(wanted: WantedStream, vbucket: Vbucket): number {
  if (wanted.diskOnly) return vbucket.persistedSeqno
  return wanted.toLatest ? vbucket.highSeqno : wanted.end
}
