/**
 * A client that comes back: which snapshot it goes on in, and what it no longer needs.
 *
 * An identity has one position in a vbucket. So with a named identity, whatever else is held for it
 * there is let go, and what another of its connections still uses is taken from that one: it is a
 * half-open link, or the client means to stream here now. Clients that are recognised by what they
 * present could be several: they share what another one uses and leave the rest of it alone.
 */
import { placeOf, receivedGraceMsOf } from './parking/identity.ts'
import { isInUse, ReleaseCause, type HeldSnapshot } from './parking/held-snapshot.ts'
import { findMatch, type Match, type Presented } from './parking/matching.ts'
import type { SharedReference } from './parking/shared-reference.ts'
import type { ProducerCore } from './producer-core.ts'
import { sharedSeqno } from './rollback.ts'
import { holderOf, scopeName, type StreamScope } from './stream-scope.ts'

/** Where the snapshots of this connection's client are looked up; undefined: it has none. */
export function placeIn(producer: ProducerCore, scope: StreamScope): string | undefined {
  const { deliveries } = producer
  if (deliveries === undefined) return undefined
  return placeOf(deliveries.places, { vbid: scope.vbid, scope: scopeName(scope) })
}

export function findHeld(
  producer: ProducerCore,
  scope: StreamScope,
  presented: Presented,
): Match | undefined {
  const place = placeIn(producer, scope)
  const vbucket = producer.bucket.vbucket(scope.vbid)
  if (place === undefined || vbucket === undefined) return undefined
  const shared = sharedSeqno(presented.uuid, {
    failoverLog: vbucket.failoverLog.entries,
    highSeqno: vbucket.highSeqno,
  })
  if (shared === undefined) return undefined
  const candidates = producer.lot
    .lookFor(place)
    .filter(held => held.bucket === producer.bucket && held.snapshotEnd <= shared)
  return findMatch(candidates, presented)
}

/** The client stands at `start` now: lets go of all that is held for it there but the match. */
export function letGoOthers(
  producer: ProducerCore,
  scope: StreamScope,
  start: number,
  match: Match | undefined,
): void {
  const place = placeIn(producer, scope)
  if (place === undefined) return
  const nowMs = producer.clock.nowMs()
  const keepMs = receivedGraceMsOf(producer.negotiated.resume)
  const kept = match === undefined || match.kind === 'received' ? undefined : match.held
  for (const held of producer.lot.at(place).slice()) {
    if (held === kept || !isSameClient(producer, held, match)) continue
    if (held.snapshotEnd <= start) producer.reaper.received(held, keepMs)
    else producer.lot.release(held, ReleaseCause.superseded, nowMs)
    releaseForeignHold(producer, held)
  }
}

/** The reference to go on with: taken over from whoever held it, or shared with a live one. */
export function takeReference(producer: ProducerCore, held: HeldSnapshot): SharedReference {
  const isForeign = isInUse(held) && !isOwn(producer, held)
  if (isForeign) producer.counters.takenOver++
  if (isForeign && producer.negotiated.resume.kind === 'presented') return held.reference.share()
  producer.lot.take(held)
  releaseForeignHold(producer, held)
  return held.reference
}

/** What of the snapshot was sent up to `start`, about: the bytes a client there need not get again. */
export function bytesUpTo(held: HeldSnapshot, start: number): number {
  const span = held.sentSeqno - held.snapshotStart
  if (span <= 0) return 0
  return Math.round(held.sentBytes * Math.min(1, (start - held.snapshotStart) / span))
}

function isOwn(producer: ProducerCore, held: HeldSnapshot): boolean {
  return producer.deliveries?.of(held.slot)?.held.includes(held) === true
}

function isSameClient(
  producer: ProducerCore,
  held: HeldSnapshot,
  match: Match | undefined,
): boolean {
  if (producer.negotiated.resume.kind !== 'presented' || isOwn(producer, held)) return true
  return held.parkedAtMs !== undefined && held.client === match?.held.client
}

/**
 * The hold at what the client is known to have was set under an earlier connection's name. It goes
 * when the client may not ask from there again; that of a connection which is open stays.
 */
function releaseForeignHold(producer: ProducerCore, held: HeldSnapshot): void {
  const { vbid, purgeHolder, slot } = held
  const { deliveries, bucket, clock, negotiated } = producer
  if (deliveries !== undefined && purgeHolder === holderOf(deliveries.client, slot >>> 16)) return
  const keepMs = receivedGraceMsOf(negotiated.resume)
  if (keepMs === 0) bucket.holds.release(vbid, purgeHolder)
  else bucket.holds.endBy(vbid, purgeHolder, clock.nowMs() + keepMs)
}
