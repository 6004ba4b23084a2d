/** Prepares backfills: pins a snapshot for them, or takes up one that was kept. */
import { StreamEndReason } from '../../protocol/dcp/stream-end.ts'
import { OperatorError } from '../errors.ts'
import type { PinRequest, SnapshotReference } from '../storage/snapshot.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import type { BackfillPlan, PinnedReference } from './backfill.ts'
import type { HeldSnapshot } from './parking/held-snapshot.ts'
import { SharedReference } from './parking/shared-reference.ts'
import type { ProducerCore } from './producer-core.ts'
import { bytesUpTo, placeIn, takeReference } from './resumption.ts'
import type { Stream } from './stream.ts'
import { holderOf, slotOf, type StreamScope } from './stream-scope.ts'

export interface BackfillPosition {
  scope: StreamScope
  /** Everything up to here has been sent. */
  afterSeqno: number
  /** The snapshot has to show as much. */
  atLeastSeqno: number
  activeOnly: boolean
  toleratedPurgeSeqno: number
}

const pinAttemptsMax = 3

/** Why a snapshot does not serve: tombstones the client needs are gone from it. */
export type PinRefusal = typeof StreamEndReason.rollback | typeof StreamEndReason.backfillFailed

/** A backfill in a snapshot that is pinned already, at once; undefined: there is none that serves. */
export function shareBackfill(
  producer: ProducerCore,
  vbucket: Vbucket,
  position: BackfillPosition,
): BackfillPlan | PinRefusal | undefined {
  if (vbucket.persistedSeqno < position.atLeastSeqno || vbucket.diskHidden) return undefined
  const request = pinRequest(producer, position.atLeastSeqno)
  const snapshot = producer.bucket.snapshots.share(vbucket.id, request)
  return snapshot && planIn(snapshot, producer, vbucket, position)
}

/** A backfill in a snapshot that is pinned for it, unless one serves that is there by then. */
export async function pinBackfill(
  producer: ProducerCore,
  vbucket: Vbucket,
  position: BackfillPosition,
): Promise<BackfillPlan | PinRefusal> {
  const snapshot = await pin(producer, vbucket, position.atLeastSeqno)
  if (snapshot === undefined) return StreamEndReason.backfillFailed
  if (producer.bucket.vbucket(vbucket.id) !== vbucket) {
    // It was emptied or removed meanwhile: the snapshot may show what came after it.
    snapshot.release()
    return StreamEndReason.backfillFailed
  }
  return planIn(snapshot, producer, vbucket, position)
}

function planIn(
  snapshot: SnapshotReference,
  producer: ProducerCore,
  vbucket: Vbucket,
  position: BackfillPosition,
): BackfillPlan | PinRefusal {
  const { afterSeqno, atLeastSeqno, toleratedPurgeSeqno } = position
  const missesTombstones = snapshot.purgeSeqno > Math.max(afterSeqno, toleratedPurgeSeqno)
  if (missesTombstones && afterSeqno > 0) {
    snapshot.release()
    return StreamEndReason.rollback
  }
  if (snapshot.persistedSeqno < atLeastSeqno) {
    const { persistedSeqno } = snapshot
    const fields = { vbid: vbucket.id, persistedSeqno, atLeastSeqno }
    producer.log.error(fields, 'the snapshot lacks changes that were on disk')
    snapshot.release()
    return StreamEndReason.backfillFailed
  }
  producer.counters.backfillsStarted++
  const { scope } = position
  const coveredSeqno = snapshot.persistedSeqno
  const snapshotEnd = Math.max(afterSeqno, shownEnd(snapshot, scope))
  const bounds = { snapshotStart: afterSeqno, snapshotEnd, coveredSeqno }
  // What shows nothing is nothing to come back for.
  if (producer.deliveries === undefined || snapshotEnd === afterSeqno) {
    const reference = new HoldingReference(producer, snapshot, scope)
    return { ...bounds, reference, afterSeqno, held: undefined }
  }
  const reference = new SharedReference(snapshot)
  const held = holdOf(producer, scope, reference, {
    snapshotStart: afterSeqno,
    snapshotEnd,
    uuid: vbucket.failoverLog.vbuuid,
    activeOnly: position.activeOnly,
    sentBytes: 0,
    sentSeqno: afterSeqno,
    knownSeqno: afterSeqno,
  })
  return { ...bounds, reference: reference.share(), afterSeqno, held }
}

/** The last change in a snapshot that a stream shows, or is told of. */
function shownEnd(snapshot: SnapshotReference, { isAware }: StreamScope): number {
  const { persistedSeqno, defaultSeqno } = snapshot
  return isAware ? persistedSeqno : Math.min(persistedSeqno, defaultSeqno)
}

/** The same for a stream that was too slow for the change log. */
export async function pinForReturn(
  producer: ProducerCore,
  stream: Stream,
  atLeastSeqno: number,
): Promise<BackfillPlan | StreamEndReason> {
  const { vbucket, cursor: afterSeqno } = stream
  const { activeOnly, toleratedPurgeSeqno, scope } = stream.options
  const position = { scope, afterSeqno, atLeastSeqno, activeOnly, toleratedPurgeSeqno }
  const plan = await pinBackfill(producer, vbucket, position)
  if (typeof plan === 'number') return plan
  if (stream.hasEnded) {
    plan.reference.release()
    plan.held?.reference.release()
    return StreamEndReason.disconnected
  }
  producer.log.debug({ vbid: vbucket.id, after: afterSeqno }, 'slow client: back to the disk')
  if (plan.held !== undefined) producer.deliveries!.hold(plan.held)
  return plan
}

/** Goes on in a snapshot that was kept. Its marker names the same bounds as before. */
export function resumeBackfill(
  producer: ProducerCore,
  before: HeldSnapshot,
  { start, activeOnly, scope }: { start: number; activeOnly: boolean; scope: StreamScope },
): BackfillPlan {
  const { uuid, snapshotStart, snapshotEnd } = before
  const sentBytes = bytesUpTo(before, start)
  const reference = takeReference(producer, before)
  const seqnos = { sentSeqno: start, knownSeqno: start }
  const bounds = { uuid, snapshotStart, snapshotEnd }
  const held = holdOf(producer, scope, reference, { ...bounds, activeOnly, sentBytes, ...seqnos })
  const { persistedSeqno: coveredSeqno } = reference.snapshot
  const shared = { reference: reference.share(), afterSeqno: start, held }
  return { snapshotStart, snapshotEnd, coveredSeqno, ...shared }
}

async function pin(
  producer: ProducerCore,
  vbucket: Vbucket,
  atLeastSeqno: number,
): Promise<SnapshotReference | undefined> {
  const { bucket, log } = producer
  try {
    // A snapshot on disk can only show what is there.
    if (vbucket.persistedSeqno < atLeastSeqno) await bucket.whenPersisted(vbucket.id, atLeastSeqno)
    return await pinMakingRoom(producer, vbucket.id, atLeastSeqno)
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    const { code, message, hint } = error
    if (code === 'stopping') return undefined
    log.error({ vbid: vbucket.id, code, hint }, `cannot pin a snapshot: ${message}`)
    return undefined
  }
}

/** What is parked gives way to who is here: also when LMDB has fewer slots left than reckoned. */
async function pinMakingRoom(
  producer: ProducerCore,
  vbid: number,
  atLeastSeqno: number,
): Promise<SnapshotReference> {
  const { bucket, reaper } = producer
  reaper.makeRoom(bucket, vbid)
  const request = pinRequest(producer, atLeastSeqno)
  for (let attempt = 1; ; attempt++) {
    try {
      return await bucket.snapshots.pin(vbid, request)
    } catch (error) {
      const isFull = error instanceof OperatorError && error.code === 'readers-full'
      if (!isFull || attempt >= pinAttemptsMax || !reaper.readersFull(bucket, vbid)) throw error
    }
  }
}

function pinRequest(producer: ProducerCore, atLeastSeqno: number): PinRequest {
  const { holder, deliveries, connectionName } = producer
  const reason = `backfill for ${connectionName}`
  return { holder: deliveries?.client ?? holder, reason, atLeastSeqno }
}

type HeldFields = Pick<
  HeldSnapshot,
  'uuid' | 'snapshotStart' | 'snapshotEnd' | 'activeOnly' | 'sentBytes' | 'sentSeqno' | 'knownSeqno'
>

function holdOf(
  producer: ProducerCore,
  scope: StreamScope,
  reference: SharedReference,
  fields: HeldFields,
): HeldSnapshot {
  const { bucket } = producer
  const { client } = producer.deliveries!
  const { vbid, streamId } = scope
  return {
    ...fields,
    purgeSeqno: reference.snapshot.purgeSeqno,
    client,
    place: placeIn(producer, scope)!,
    bucket,
    vbid,
    slot: slotOf(scope),
    reference,
    purgeHolder: holderOf(client, streamId),
    parkedAtMs: undefined,
    receivedAtMs: undefined,
    deadlineMs: 0,
    onTaken: undefined,
    parkNow: undefined,
  }
}

/** The snapshot of a stream that nobody resumes: its end holds the purger while it is in use. */
class HoldingReference implements PinnedReference {
  readonly snapshot: SnapshotReference
  readonly #producer: ProducerCore
  readonly #holder: string
  #isHeld = true

  constructor(producer: ProducerCore, snapshot: SnapshotReference, { streamId }: StreamScope) {
    this.snapshot = snapshot
    this.#producer = producer
    this.#holder = holderOf(producer.holder, streamId)
    const { vbid, persistedSeqno } = snapshot
    producer.bucket.holds.set(vbid, this.#holder, persistedSeqno, Infinity, false)
  }

  release(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    this.#producer.bucket.holds.release(this.snapshot.vbid, this.#holder)
    this.snapshot.release()
  }
}
