/**
 * What one connection's resumable streams have under way: confirms receipts, keeps purge holds up
 * to date, and moves snapshots to the parking lot when the connection goes away.
 */
import type { Clock } from '../clock.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { Delivery, type LinkPosition } from './delivery.ts'
import type { HeldSnapshot, ReleaseCause } from './parking/held-snapshot.ts'
import type { ParkingLot } from './parking/parking-lot.ts'
import { Receipts } from './receipts.ts'
import type { Progress } from './stream.ts'
import { holderOf, slotOf, type StreamScope } from './stream-scope.ts'

export interface DeliveriesOptions {
  lot: ParkingLot
  clock: Clock
  bucket: Bucket
  /** The newest delivery of a client and vbucket: an older connection's gives way to it. */
  claims: Map<string, Delivery>
  client: string
  /** Where what is held for the client is looked up, see parking/identity.ts. */
  places: string
  graceMs: number
  purgeHoldMaxMs: number
  /** For so long the client may ask again from before what it is known to have; 0: not at all. */
  receivedGraceMs: number
  /** A snapshot has been received whole: what becomes of it. */
  onReceived: (held: HeldSnapshot) => void
  /** Where the connection stands, in bytes of stream frames. */
  positions: Positions
  /** Another connection of the client streams a vbucket now: here its stream is to end. */
  onTakenOver: (slot: number) => void
}

export interface Positions extends LinkPosition {
  /** Taken by the kernel. */
  readonly taken: number
  /** Acknowledged by flow control. */
  readonly acked: number
  /** Read by the client, as an answered no-op proves; Infinity if none are sent. */
  readonly answered: number
}

const holdIntervalMs = 1000

/** When the connection went away, and until when what is kept for its client is kept. */
interface Left {
  readonly epochMs: number
  readonly monotonicMs: number
  readonly deadlineMs: number
  readonly holdDeadlineMs: number
}

export class Deliveries {
  readonly client: string
  readonly #options: DeliveriesOptions
  readonly #receipts: Receipts
  readonly #bySlot = new Map<number, Delivery>()
  readonly #unconfirmed = new Set<Delivery>()
  #holdsAtMs = 0
  #left: Left | undefined
  #parked = 0

  constructor(options: DeliveriesOptions) {
    this.client = options.client
    this.#options = options
    this.#receipts = new Receipts(options.graceMs)
  }

  get places(): string {
    return this.#options.places
  }

  get graceMs(): number {
    return this.#options.graceMs
  }

  /** Snapshots that were parked when the connection was gone. */
  get parked(): number {
    return this.#parked
  }

  of(slot: number): Delivery | undefined {
    return this.#bySlot.get(slot)
  }

  /** Begins to account for a new stream; the client presented `startSeqno`. */
  open(scope: StreamScope, startSeqno: number): Delivery {
    const { bucket, clock, claims, client, graceMs, purgeHoldMaxMs } = this.#options
    const { receivedGraceMs } = this.#options
    const { vbid, streamId } = scope
    const slot = slotOf(scope)
    const key = `${client} ${slot}`
    // First our own, so that only another connection's is told.
    this.#drop(this.#bySlot.get(slot))
    claims.get(key)?.disown()
    const delivery = new Delivery({
      bucket,
      vbid,
      slot,
      isAware: scope.isAware,
      purgeHolder: holderOf(client, streamId),
      startSeqno,
      nowMs: clock.monotonicMs(),
      epochMs: clock.nowMs(),
      graceMs,
      purgeHoldMaxMs,
      receivedGraceMs,
      onDisowned: () => {
        this.#drop(this.#bySlot.get(slot))
        this.#options.onTakenOver(slot)
      },
    })
    claims.set(key, delivery)
    this.#bySlot.set(slot, delivery)
    return delivery
  }

  hold(held: HeldSnapshot): void {
    this.#options.lot.hold(held)
    this.#bySlot.get(held.slot)!.add(held)
  }

  sent(slot: number, progress: Progress): void {
    const delivery = this.#bySlot.get(slot)
    if (delivery === undefined) return
    const { clock, positions } = this.#options
    const { seqno, bytes, completes } = progress
    const snapshot = completes ?? delivery.held.at(-1)
    if (snapshot !== undefined && seqno <= snapshot.snapshotEnd) {
      snapshot.sentSeqno = seqno
      snapshot.sentBytes += bytes
    }
    delivery.sent(progress, positions, clock.monotonicMs())
    this.#unconfirmed.add(delivery)
  }

  /** Something was acknowledged or answered, or time has passed. */
  confirm(): void {
    const { clock, positions, onReceived } = this.#options
    const nowMs = clock.monotonicMs()
    this.#receipts.sample(nowMs, positions.taken)
    const position = this.#receipts.position(nowMs, positions)
    for (const delivery of this.#unconfirmed) {
      const whole = delivery.confirm(position, nowMs)
      for (const held of whole) onReceived(held)
      // Where the end of a snapshot held so far, what the client has holds from now on.
      if (whole.length > 0) delivery.updateHold(nowMs)
      if (delivery.hasUnconfirmed) continue
      this.#unconfirmed.delete(delivery)
      this.#dropIfDone(delivery)
    }
    if (nowMs - this.#holdsAtMs < holdIntervalMs) return
    this.#holdsAtMs = nowMs
    for (const delivery of this.#bySlot.values()) delivery.updateHold(nowMs)
  }

  /**
   * A stream sends no more; what is under way is still accounted for. A snapshot of which it has
   * not sent everything, because reading it failed, is of no use.
   */
  finish(slot: number): void {
    const delivery = this.#bySlot.get(slot)
    if (delivery === undefined) return
    const { lot, clock } = this.#options
    for (const held of delivery.held.slice()) {
      if (held.sentSeqno < held.snapshotEnd) lot.release(held, 'failed', clock.nowMs())
    }
    delivery.isFinished = true
    this.#dropIfDone(delivery)
  }

  /** The client is done with a vbucket, or can no longer go on in it. */
  release(slot: number, cause: ReleaseCause): void {
    const delivery = this.#bySlot.get(slot)
    this.#releaseReceived(cause, slot)
    if (delivery === undefined) return
    const nowMs = this.#options.clock.nowMs()
    for (const held of delivery.held.slice()) this.#options.lot.release(held, cause, nowMs)
    delivery.releaseHold()
    this.#drop(delivery)
  }

  releaseAll(cause: ReleaseCause): void {
    for (const slot of this.#bySlot.keys()) this.release(slot, cause)
    this.#releaseReceived(cause)
  }

  /**
   * The connection is gone: for the grace from now, what its client may come back for is to be kept.
   * When the daemon stops, the grace of what outlives it begins with the next start, as after a
   * crash. What is held counts as in use until it has been parked.
   */
  leave(isStopping = false): void {
    const { clock, graceMs } = this.#options
    this.confirm()
    const epochMs = clock.nowMs()
    const deadlineMs = epochMs + graceMs
    const holdDeadlineMs = isStopping ? Infinity : deadlineMs
    this.#left = { epochMs, monotonicMs: clock.monotonicMs(), deadlineMs, holdDeadlineMs }
    for (const delivery of this.#bySlot.values()) {
      for (const held of delivery.held) held.parkNow = () => this.#park(delivery)
    }
  }

  /** After `leave`: parks so many vbuckets more; true if there are others left. */
  park(most = Infinity): boolean {
    let count = 0
    for (const delivery of this.#bySlot.values()) {
      if (count++ === most) return true
      this.#park(delivery)
    }
    return false
  }

  #park(delivery: Delivery): void {
    const { epochMs, monotonicMs, deadlineMs, holdDeadlineMs } = this.#left!
    for (const held of delivery.held) this.#options.lot.park(held, epochMs, deadlineMs)
    this.#parked += delivery.held.length
    delivery.leaveHold(monotonicMs, holdDeadlineMs)
    this.#drop(delivery)
  }

  #releaseReceived(cause: ReleaseCause, slot?: number): void {
    const { lot, clock, client, receivedGraceMs } = this.#options
    if (receivedGraceMs === 0) return
    for (const held of lot.received) {
      if (held.client !== client || (slot !== undefined && held.slot !== slot)) continue
      lot.release(held, cause, clock.nowMs())
    }
  }

  /** The client has all that its stream had for it: nothing is held any more, or soon nothing. */
  #dropIfDone(delivery: Delivery): void {
    if (!delivery.isFinished || delivery.hasUnconfirmed || delivery.held.length > 0) return
    const { clock, receivedGraceMs } = this.#options
    if (receivedGraceMs === 0) delivery.releaseHold()
    else delivery.leaveHold(clock.monotonicMs(), clock.nowMs() + receivedGraceMs)
    this.#drop(delivery)
  }

  #drop(delivery: Delivery | undefined): void {
    if (delivery === undefined) return
    const { claims, client } = this.#options
    const { slot } = delivery
    const key = `${client} ${slot}`
    if (claims.get(key) === delivery) claims.delete(key)
    this.#bySlot.delete(slot)
    this.#unconfirmed.delete(delivery)
  }
}
