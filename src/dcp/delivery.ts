/**
 * What one resumable client has received of one vbucket, and the purge hold that follows from it.
 * It outlives its stream: the last bytes of a finished stream may still be under way.
 *
 * Checkpoints are kept in the order of sending: when everything before `position` has been
 * received, the client has `seqno`, and perhaps the whole of a disk snapshot.
 */
import type { Bucket } from '../vbucket/bucket.ts'
import type { HeldSnapshot } from './parking/held-snapshot.ts'
import { knownHold, type HoldLimits } from './purge-hold.ts'
import type { Progress } from './stream.ts'

export interface LinkPosition {
  /** Bytes of stream frames sent, whether or not they have left this process. */
  readonly sent: number
  /** Of flow control; 0: there is none. */
  readonly window: number
}

interface Checkpoint {
  firstMs: number
  firstPosition: number
  position: number
  seqno: number
  safeSeqno: number
  completes: HeldSnapshot | undefined
}

/** Beyond this many bytes, or this part of the window, a checkpoint is followed by another. */
const checkpointBytesMax = 1024 * 1024
const checkpointsPerWindow = 16

export interface DeliveryOptions extends HoldLimits {
  bucket: Bucket
  vbid: number
  purgeHolder: string
  startSeqno: number
  /** Monotonic, as all times here but deadlines. */
  nowMs: number
  /** Another connection of the client streams the vbucket now. */
  onDisowned: () => void
}

export class Delivery {
  readonly vbid: number
  readonly purgeHolder: string
  /** Disk snapshots not known to have been received whole, oldest first. */
  readonly held: HeldSnapshot[] = []
  /** Its stream has sent everything. */
  isFinished = false
  readonly #options: DeliveryOptions
  readonly #checkpoints: Checkpoint[] = []
  #knownSeqno: number
  /** Where the client, with what it is known to have, may have to go back to after a crash. */
  #safeSeqno: number
  #sentSeqno: number
  #progressAtMs: number
  #activeAtMs: number
  #holdSeqno = -1
  #holdDurable = false
  #isDisowned = false

  constructor(options: DeliveryOptions) {
    this.#options = options
    this.vbid = options.vbid
    this.purgeHolder = options.purgeHolder
    this.#knownSeqno = options.startSeqno
    this.#safeSeqno = options.startSeqno
    this.#sentSeqno = options.startSeqno
    this.#progressAtMs = options.nowMs
    this.#activeAtMs = options.nowMs
    this.updateHold(options.nowMs)
  }

  /** The client is known to have everything up to this seqno. */
  get knownSeqno(): number {
    return this.#knownSeqno
  }

  get sentSeqno(): number {
    return this.#sentSeqno
  }

  get hasUnconfirmed(): boolean {
    return this.#checkpoints.length > 0
  }

  add(held: HeldSnapshot): void {
    this.held.push(held)
    held.onTaken = () => this.#forget(held)
  }

  /** A step of the stream has been sent and ends at this position of the link. */
  sent(progress: Omit<Progress, 'bytes'>, link: LinkPosition, nowMs: number): void {
    const { seqno, safeSeqno, completes } = progress
    // A client that had everything was not standing still: its time begins now.
    if (this.#knownSeqno === this.#sentSeqno) this.#progressAtMs = nowMs
    this.#sentSeqno = seqno
    this.#activeAtMs = nowMs
    const position = link.sent
    const last = this.#checkpoints.at(-1)
    if (last === undefined || this.#isFull(last, link, nowMs)) {
      const first = { firstMs: nowMs, firstPosition: position }
      this.#checkpoints.push({ ...first, position, seqno, safeSeqno, completes })
      return
    }
    last.position = position
    last.seqno = seqno
    last.safeSeqno = safeSeqno
    last.completes = completes
  }

  /** Everything sent before `position` has been received; returns snapshots that are now whole. */
  confirm(position: number, nowMs: number): HeldSnapshot[] {
    const whole: HeldSnapshot[] = []
    let count = 0
    for (const checkpoint of this.#checkpoints) {
      if (checkpoint.position > position) break
      count++
      this.#knownSeqno = checkpoint.seqno
      this.#safeSeqno = checkpoint.safeSeqno
      if (checkpoint.completes !== undefined) whole.push(checkpoint.completes)
    }
    if (count === 0) return whole
    this.#checkpoints.splice(0, count)
    this.#progressAtMs = nowMs
    this.#activeAtMs = nowMs
    for (const held of this.held) held.knownSeqno = this.#knownSeqno
    return whole
  }

  /** Brings the hold in line with what is known and with the time that has passed. */
  updateHold(nowMs: number): void {
    if (this.#isDisowned) return
    const hold = knownHold(this.#holdState(), this.#options, nowMs)
    const { bucket } = this.#options
    if (hold === undefined) {
      if (this.#holdSeqno < 0) return
      this.#holdSeqno = -1
      bucket.holds.release(this.vbid, this.purgeHolder)
      return
    }
    const { seqno, durable } = hold
    if (seqno === this.#holdSeqno && durable === this.#holdDurable) return
    this.#holdSeqno = seqno
    this.#holdDurable = durable
    this.#set(seqno, Infinity, durable)
  }

  /** The connection is gone: the hold stays for the grace. `epochMs` is when that begins. */
  leaveHold(nowMs: number, epochMs: number): void {
    if (this.#isDisowned) return
    const state = this.#holdState()
    const hold = knownHold(state, this.#options, nowMs)
    if (hold === undefined) {
      this.releaseHold()
      return
    }
    this.#isDisowned = true
    const { graceMs, purgeHoldMaxMs } = this.#options
    const leftMs = hold.durable ? state.progressAtMs + purgeHoldMaxMs - nowMs : graceMs
    this.#set(hold.seqno, epochMs + Math.min(graceMs, leftMs), hold.durable)
  }

  /** Nothing is held for this client any more. */
  releaseHold(): void {
    if (this.#isDisowned) return
    this.#isDisowned = true
    this.#options.bucket.holds.release(this.vbid, this.purgeHolder)
  }

  /** Another connection of the client has taken its place; the hold is that one's now. */
  disown(): void {
    if (this.#isDisowned) return
    this.#isDisowned = true
    this.#options.onDisowned()
  }

  #isFull(checkpoint: Checkpoint, link: LinkPosition, nowMs: number): boolean {
    const { graceMs } = this.#options
    const windowPart = link.window === 0 ? Infinity : link.window / checkpointsPerWindow
    return (
      checkpoint.completes !== undefined ||
      nowMs - checkpoint.firstMs > Math.max(1000, graceMs / 32) ||
      link.sent - checkpoint.firstPosition > Math.min(checkpointBytesMax, windowPart)
    )
  }

  #set(seqno: number, deadlineMs: number, durable: boolean): void {
    const { bucket, graceMs } = this.#options
    bucket.holds.set(this.vbid, this.purgeHolder, seqno, deadlineMs, durable, graceMs)
  }

  #forget(held: HeldSnapshot): void {
    const index = this.held.indexOf(held)
    if (index >= 0) this.held.splice(index, 1)
    for (const checkpoint of this.#checkpoints) {
      if (checkpoint.completes === held) checkpoint.completes = undefined
    }
  }

  #holdState() {
    // A client that has everything is not standing still.
    const isUpToDate = this.#knownSeqno === this.#sentSeqno
    const [oldest] = this.held
    return {
      safeSeqno: this.#safeSeqno,
      // What is in flight from memory, ahead of the first snapshot, is in none of them.
      isInSnapshot: oldest !== undefined && oldest.snapshotStart <= this.#knownSeqno,
      progressAtMs: isUpToDate ? Infinity : this.#progressAtMs,
      activeAtMs: isUpToDate ? Infinity : this.#activeAtMs,
    }
  }
}
