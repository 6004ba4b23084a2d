/**
 * Every snapshot that is on its way to a resumable client. Two states:
 *
 *            hold                   park (connection gone)
 *   pinned --------> in use ------------------------------> parked
 *                    |    ^                                 |    |
 *            release |    | hold (the same, for a new       |    | release: deadline, limits,
 *        (received,  |    | stream of the client)           |    | history broken, …
 *         closed, …) v    +---------------- take -----------+    v
 *
 * For clients that may repeat an older request there is a third: keepReceived leads from both of them
 * to received, which ends with a take or, some seconds later, with a release.
 *
 * As long as a snapshot is held, the vbucket's purge seqno may not pass its end: what follows it
 * must still hold every tombstone when its client goes on behind it. Nothing here knows sockets.
 */
import type { Bucket } from '../../vbucket/bucket.ts'
import { isInUse, type HeldSnapshot, type ReleaseCause } from './held-snapshot.ts'

/** What became of a snapshot that its client did not find any more. */
export interface Epitaph {
  client: string
  bucket: Bucket
  vbid: number
  cause: ReleaseCause
  atMs: number
  snapshotStart: number
  snapshotEnd: number
}

const epitaphsMax = 4096

export class ParkingLot {
  readonly #places = new Map<string, HeldSnapshot[]>()
  readonly #parked = new Set<HeldSnapshot>()
  readonly #received = new Set<HeldSnapshot>()
  readonly #epitaphs = new Map<string, Epitaph>()

  get parked(): ReadonlySet<HeldSnapshot> {
    return this.#parked
  }

  /** What clients have whole and may still ask from within, oldest first. */
  get received(): ReadonlySet<HeldSnapshot> {
    return this.#received
  }

  /** In use, parked and received. */
  all(): HeldSnapshot[] {
    return [...this.#places.values()].flat()
  }

  /** What is held at a place, oldest first. */
  at(place: string): readonly HeldSnapshot[] {
    return this.#places.get(place) ?? []
  }

  /** The same for a client that asks for it: what connections that are gone have left is parked first. */
  lookFor(place: string): readonly HeldSnapshot[] {
    for (const held of this.at(place)) held.parkNow?.()
    return this.at(place)
  }

  hold(held: HeldSnapshot): void {
    const here = this.#places.get(held.place)
    if (here === undefined) this.#places.set(held.place, [held])
    else here.push(held)
    this.#holdPurge(held)
  }

  park(held: HeldSnapshot, nowMs: number, deadlineMs: number): void {
    held.parkedAtMs = nowMs
    held.deadlineMs = deadlineMs
    held.onTaken = undefined
    held.parkNow = undefined
    this.#parked.add(held)
    this.#holdPurge(held)
  }

  /** Its client has all of it: whoever used it is told, and it stays until the deadline. */
  keepReceived(held: HeldSnapshot, nowMs: number, deadlineMs: number): void {
    held.parkedAtMs = undefined
    held.receivedAtMs = nowMs
    held.deadlineMs = deadlineMs
    held.onTaken?.()
    held.onTaken = undefined
    held.parkNow = undefined
    this.#parked.delete(held)
    this.#received.add(held)
    this.#holdPurge(held)
  }

  /** Out of the lot, with its reference; whoever used it is told. */
  take(held: HeldSnapshot): void {
    if (!this.#remove(held)) return
    held.onTaken?.()
    held.onTaken = undefined
  }

  /** Out of the lot for good. */
  release(held: HeldSnapshot, cause: ReleaseCause, nowMs: number): void {
    if (!this.#remove(held)) return
    if (held.parkedAtMs !== undefined) this.#remember(held, cause, nowMs)
    held.onTaken?.()
    held.onTaken = undefined
    held.reference.release()
  }

  /** Why there is nothing for a client any more, if that is known. */
  epitaph(place: string): Epitaph | undefined {
    return this.#epitaphs.get(place)
  }

  /** Newest first. */
  epitaphs(): Epitaph[] {
    return [...this.#epitaphs.values()].reverse()
  }

  of(bucket: Bucket, vbid?: number): HeldSnapshot[] {
    return this.all().filter(
      held => held.bucket === bucket && (vbid === undefined || held.vbid === vbid),
    )
  }

  #remove(held: HeldSnapshot): boolean {
    const here = this.#places.get(held.place)
    const index = here?.indexOf(held) ?? -1
    if (here === undefined || index < 0) return false
    here.splice(index, 1)
    if (here.length === 0) this.#places.delete(held.place)
    held.parkNow = undefined
    this.#parked.delete(held)
    this.#received.delete(held)
    this.#holdPurge(held)
    return true
  }

  /** One hold for all snapshots of a client and vbucket: at the least of their ends. */
  #holdPurge({ place, purgeHolder, bucket, vbid }: HeldSnapshot): void {
    let end = Infinity
    let deadlineMs = 0
    for (const held of this.at(place)) {
      if (held.purgeHolder !== purgeHolder) continue
      end = Math.min(end, held.snapshotEnd)
      const until = isInUse(held) ? Infinity : held.deadlineMs
      deadlineMs = Math.max(deadlineMs, until)
    }
    const holder = snapshotHolder(purgeHolder)
    if (end === Infinity) bucket.holds.release(vbid, holder)
    else bucket.holds.set(vbid, holder, end, deadlineMs, false)
  }

  #remember(held: HeldSnapshot, cause: ReleaseCause, nowMs: number): void {
    const { place, client, bucket, vbid, snapshotStart, snapshotEnd } = held
    this.#epitaphs.delete(place)
    this.#epitaphs.set(place, {
      client,
      bucket,
      vbid,
      cause,
      atMs: nowMs,
      snapshotStart,
      snapshotEnd,
    })
    if (this.#epitaphs.size <= epitaphsMax) return
    for (const oldest of this.#epitaphs.keys()) {
      this.#epitaphs.delete(oldest)
      return
    }
  }
}

/** The hold at the end of snapshots, beside the one at what the client is known to have. */
export function snapshotHolder(purgeHolder: string): string {
  return `${purgeHolder} snapshot`
}
