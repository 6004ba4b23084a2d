/**
 * Opens streams: decides whether a client may go on from where it is, finds the snapshot in which
 * it does, and answers. Everything a stream needs before its first frame happens here, so that a
 * client that cannot be served learns it from the answer.
 *
 * A purge must not overtake the decision: a hold is set first, a purge that is under way is waited
 * for, and only then the purge seqno is looked at.
 */
import { encodeFailoverLog } from '../../protocol/dcp/failover-log.ts'
import { StreamEndReason } from '../../protocol/dcp/stream-end.ts'
import { encodeRollbackSeqno, type StreamRequest } from '../../protocol/dcp/stream-request.ts'
import { Status } from '../../protocol/status.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import type { BackfillPlan } from './backfill.ts'
import { pinBackfill, resumeBackfill, type PinRefusal } from './backfill-plan.ts'
import type { HeldSnapshot } from './parking/held-snapshot.ts'
import type { Match } from './parking/matching.ts'
import type { ProducerCore } from './producer-core.ts'
import { findHeld, letGoOthers, placeIn } from './resumption.ts'
import { decideRollback, type RollbackDecision } from './rollback.ts'
import { Stream } from './stream.ts'
import { mayRead, readStreamRequest, type WantedStream } from './stream-request.ts'

export interface StreamAnswer {
  status: Status
  value: Buffer
}

export async function openStream(
  producer: ProducerCore,
  request: StreamRequest,
): Promise<StreamAnswer> {
  const { vbid } = request
  const vbucket = producer.bucket.vbucket(vbid)
  if (vbucket === undefined) return answer(Status.notMyVbucket)
  const wanted = readStreamRequest(request, vbucket)
  if (typeof wanted === 'number') return answer(wanted)
  if (producer.streams.has(vbid) || producer.opening.has(vbid)) return answer(Status.keyExists)
  const match = findHeld(producer, vbid, wanted)
  const isServed = match !== undefined && match.kind !== 'received'
  if (isServed && wanted.start < endOf(wanted, vbucket)) {
    return resume(producer, vbucket, wanted, match)
  }
  const opening = { isClosed: false }
  producer.opening.set(vbid, opening)
  // Whatever is decided, no purge passes the client meanwhile.
  const guard = `${producer.holder} request`
  producer.bucket.holds.set(vbid, guard, wanted.start, Infinity, false)
  try {
    const decided = await decide(producer, vbucket, wanted, match)
    // Closed before it was opened: it was accepted, and ends before its first frame.
    if (opening.isClosed) producer.streams.get(vbid)?.end(StreamEndReason.closed)
    return decided
  } finally {
    producer.opening.delete(vbid)
    producer.bucket.holds.release(vbid, guard)
  }
}

/** Commands are worked on in order, but a stream request may still be waiting for the disk. */
export function closeOpening({ opening }: ProducerCore, vbid: number): Status {
  const request = opening.get(vbid)
  if (request === undefined || request.isClosed) return Status.keyNotFound
  request.isClosed = true
  return Status.success
}

/** On a snapshot that was kept there is nothing to decide: it is complete as it is. */
function resume(
  producer: ProducerCore,
  vbucket: Vbucket,
  wanted: WantedStream,
  { held }: Match,
): StreamAnswer {
  const { start, activeOnly } = wanted
  const { log, counters, clock, deliveries } = producer
  const awayMs = held.parkedAtMs === undefined ? 0 : clock.nowMs() - held.parkedAtMs
  letGoOthers(producer, vbucket.id, start, { kind: 'within', held })
  const plan = resumeBackfill(producer, held, start, activeOnly)
  deliveries!.open(vbucket.id, start)
  deliveries!.hold(plan.held!)
  counters.resumed++
  producer.resumed++
  counters.bytesNotSentAgain += plan.held!.sentBytes
  const { snapshotStart, snapshotEnd } = held
  log.debug({ vbid: vbucket.id, start, snapshotStart, snapshotEnd, awayMs }, 'snapshot resumed')
  wanted.end = endOf(wanted, vbucket)
  return accept(producer, vbucket, wanted, plan)
}

async function decide(
  producer: ProducerCore,
  vbucket: Vbucket,
  wanted: WantedStream,
  match: Match | undefined,
): Promise<StreamAnswer> {
  await vbucket.purgeSettled()
  const changed = refusalNow(producer, vbucket, wanted)
  if (changed !== undefined) return answer(changed)
  const decision = decideRollback(
    { ...wanted, resumable: producer.deliveries !== undefined },
    {
      failoverLog: vbucket.failoverLog.entries,
      highSeqno: vbucket.highSeqno,
      purgeSeqno: vbucket.purgeSeqno,
    },
  )
  if (decision.rollbackTo !== undefined) return rollBack(producer, vbucket.id, wanted, decision)
  wanted.end = endOf(wanted, vbucket)
  if (wanted.start > wanted.end) return answer(Status.outOfRange)

  const plan = await planBackfill(producer, vbucket, wanted)
  if (plan === StreamEndReason.backfillFailed) return answer(Status.temporaryFailure)
  if (plan === StreamEndReason.rollback) {
    const reason = 'tombstones were purged while the request was decided'
    return rollBack(producer, vbucket.id, wanted, { rollbackTo: 0, reason })
  }
  const late = refusalNow(producer, vbucket, wanted)
  if (late !== undefined) {
    plan?.reference.release()
    plan?.held?.reference.release()
    return answer(late)
  }
  letGoOthers(producer, vbucket.id, wanted.start, match)
  producer.deliveries?.open(vbucket.id, wanted.start)
  if (plan?.held !== undefined) producer.deliveries!.hold(plan.held)
  return accept(producer, vbucket, wanted, plan)
}

/** What may have changed while something was waited for. */
function refusalNow(
  producer: ProducerCore,
  vbucket: Vbucket,
  wanted: WantedStream,
): Status | undefined {
  if (producer.isClosed) return Status.temporaryFailure
  if (producer.bucket.vbucket(vbucket.id) !== vbucket) return Status.notMyVbucket
  return mayRead(vbucket, wanted.activeOnly) ? undefined : Status.notMyVbucket
}

/** undefined: what is wanted is in memory. */
async function planBackfill(
  producer: ProducerCore,
  vbucket: Vbucket,
  wanted: WantedStream,
): Promise<BackfillPlan | PinRefusal | undefined> {
  const { start, end, diskOnly, activeOnly, toleratedPurgeSeqno } = wanted
  if (start === end) return undefined
  const lowest = producer.bucket.changes.lowestSeqno(vbucket.id, vbucket.highSeqno)
  if (!diskOnly && lowest <= start + 1) return undefined
  // What is on disk of an emptied vbucket belongs to its life before.
  if (vbucket.diskHidden) return StreamEndReason.backfillFailed
  // In the middle of a snapshot a client lacks what was superseded within it: the new one has to
  // reach as far.
  const isWithin = start > wanted.snapshotStart && start < wanted.snapshotEnd
  const atLeastSeqno = Math.max(
    start + 1,
    Math.min(lowest - 1, vbucket.highSeqno),
    isWithin ? wanted.snapshotEnd : 0,
    diskOnly ? end : 0,
  )
  const position = { afterSeqno: start, activeOnly, toleratedPurgeSeqno }
  return pinBackfill(producer, vbucket, position, atLeastSeqno)
}

function accept(
  producer: ProducerCore,
  vbucket: Vbucket,
  wanted: WantedStream,
  plan: BackfillPlan | undefined,
): StreamAnswer {
  const { start, end, activeOnly, diskOnly, toleratedPurgeSeqno, opaque } = wanted
  const { entries, vbuuid } = vbucket.failoverLog
  const stream = new Stream({
    host: producer.host,
    vbucket,
    startSeqno: start,
    endSeqno: end,
    activeOnly,
    diskOnly,
    toleratedPurgeSeqno,
    vbuuid,
    form: { ...producer.form, opaque, expiryOpcode: producer.negotiated.expiryOpcode },
  })
  producer.streams.set(vbucket.id, stream)
  producer.counters.streamsOpened++
  const from = plan === undefined ? 'memory' : 'disk'
  producer.log.debug({ vbid: vbucket.id, start, end, from }, 'stream opened')
  stream.begin(plan)
  return { status: Status.success, value: encodeFailoverLog(entries) }
}

function rollBack(
  producer: ProducerCore,
  vbid: number,
  wanted: WantedStream,
  { rollbackTo, reason }: RollbackDecision,
): StreamAnswer {
  const { start, snapshotStart, snapshotEnd, uuid } = wanted
  const place = placeIn(producer, vbid)
  const presented = { start, snapshotStart, snapshotEnd, uuid: uuid.toString(16) }
  const kept = place === undefined ? undefined : keptFor(producer, place)
  producer.counters.rollbacks++
  producer.log.info({ vbid, ...presented, rollbackTo, reason, kept }, 'client has to roll back')
  return { status: Status.rollback, value: encodeRollbackSeqno(rollbackTo!) }
}

/** For the log: what was kept for a client that had to roll back all the same. */
function keptFor(producer: ProducerCore, place: string): string {
  const others = producer.lot.at(place)
  if (others.length > 0) return `another snapshot: ${others.map(boundsOf).join(', ')}`
  const epitaph = producer.lot.epitaph(place)
  if (epitaph === undefined) return 'nothing'
  const agoSeconds = Math.round((producer.clock.nowMs() - epitaph.atMs) / 1000)
  return `nothing any more: ${boundsOf(epitaph)} went ${agoSeconds} s ago (${epitaph.cause})`
}

function boundsOf({
  snapshotStart,
  snapshotEnd,
}: Pick<HeldSnapshot, 'snapshotStart' | 'snapshotEnd'>) {
  return `${snapshotStart}..${snapshotEnd}`
}

function endOf(wanted: WantedStream, vbucket: Vbucket): number {
  if (wanted.diskOnly) return vbucket.persistedSeqno
  return wanted.toLatest ? vbucket.highSeqno : wanted.end
}

function answer(status: Status): StreamAnswer {
  return { status, value: Buffer.alloc(0) }
}
