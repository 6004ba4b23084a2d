/**
 * What one resumable client has received of one vbucket, and the purge hold that follows from it.
 * It outlives its stream: the last bytes of a finished stream may still be under way.
 *
 * Checkpoints are kept in the order of sending: when everything before `position` has been
 * received, the client has `seqno`, and perhaps the whole of a disk snapshot.
 */
import type { Bucket } from '../vbucket/bucket.ts'
import { LaggingSeqno } from './lagging-seqno.ts'
import type { HeldSnapshot } from './parking/held-snapshot.ts'
import { knownHold, type HoldLimits, type KnownHold } from './purge-hold.ts'
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
  /** Of its stream, see stream-scope.ts. */
  slot: number
  /** The client is told of all collections, not only of the default one. */
  isAware: boolean
  purgeHolder: string
  startSeqno: number
  /** Monotonic, as all times here but deadlines. */
  nowMs: number
  /** The same in milliseconds since the epoch. */
  epochMs: number
  /** For so long the client may ask again from before what it is known to have. */
  receivedGraceMs: number
  /** Another connection of the client streams the vbucket now. */
  onDisowned: () => void
}

export class Delivery {
  readonly vbid: number
  readonly slot: number
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
  /** What it was a while ago, for a client that may ask again from there. */
  readonly #before: LaggingSeqno
  #sentSeqno: number
  /** Since when it lacks something and has not been known to receive any of it. */
  #standingSinceMs: number | undefined
  #activeAtMs: number
  #holdSeqno = -1
  #holdDurable = false
  #holdLapsesAtMs: number | null = null
  #isDisowned = false

  constructor(options: DeliveryOptions) {
    this.#options = options
    this.vbid = options.vbid
    this.slot = options.slot
    this.purgeHolder = options.purgeHolder
    this.#knownSeqno = options.startSeqno
    this.#safeSeqno = options.startSeqno
    this.#before = new LaggingSeqno(options.receivedGraceMs, options.startSeqno, options.nowMs)
    this.#sentSeqno = options.startSeqno
    this.#standingSinceMs = this.#takeOverStanding()
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
    this.#standingSinceMs ??= nowMs
    this.#sentSeqno = seqno
    this.#activeAtMs = nowMs
    // From the first byte on the client may have something that it could lose.
    if (this.#holdSeqno < 0) this.updateHold(nowMs)
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
      if (checkpoint.completes === undefined) continue
      whole.push(checkpoint.completes)
      this.#before.pass(checkpoint.completes)
    }
    if (count === 0) return whole
    this.#checkpoints.splice(0, count)
    this.#before.move(this.#safeSeqno, nowMs)
    this.#standingSinceMs = this.#isUpToDate ? undefined : nowMs
    this.#activeAtMs = nowMs
    for (const held of this.held) held.knownSeqno = this.#knownSeqno
    return whole
  }

  /** Brings the hold in line with what is known and with the time that has passed. */
  updateHold(nowMs: number): void {
    if (this.#isDisowned) return
    this.#holdBefore(nowMs)
    const hold = this.#wantedHold(nowMs)
    if (hold === undefined) {
      if (this.#holdSeqno < 0) return
      this.#holdSeqno = -1
      this.#options.bucket.holds.release(this.vbid, this.purgeHolder)
      return
    }
    const { seqno, durable } = hold
    const lapsesAtMs = this.#lapsesAtMs(durable)
    const isSame = seqno === this.#holdSeqno && durable === this.#holdDurable
    if (isSame && lapsesAtMs === this.#holdLapsesAtMs) return
    this.#holdSeqno = seqno
    this.#holdDurable = durable
    this.#holdLapsesAtMs = lapsesAtMs
    this.#set(seqno, Infinity, durable)
  }

  /**
   * The connection is gone, or the stream is done: the hold stays until the deadline, since the epoch.
   * Infinity: its grace begins with the next start of the daemon, which is stopping.
   */
  leaveHold(nowMs: number, deadlineMs: number): void {
    if (this.#isDisowned) return
    this.#holdBefore(nowMs)
    const hold = this.#wantedHold(nowMs)
    this.#isDisowned = true
    if (hold === undefined) {
      this.#options.bucket.holds.release(this.vbid, this.purgeHolder)
      return
    }
    this.#set(hold.seqno, deadlineMs, hold.durable)
  }

  /** Nothing is held for this client any more. */
  releaseHold(): void {
    if (this.#isDisowned) return
    this.#isDisowned = true
    const { holds } = this.#options.bucket
    holds.release(this.vbid, this.purgeHolder)
    holds.release(this.vbid, beforeHolder(this.purgeHolder))
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
    const lapsesAtMs = this.#lapsesAtMs(durable)
    bucket.holds.set(this.vbid, this.purgeHolder, seqno, deadlineMs, durable, graceMs, lapsesAtMs)
  }

  /**
   * What the client had a while ago holds beside what it has now, from memory only: within a snapshot from
   * disk the one that is kept does. It lapses by itself when the connection is gone.
   */
  #holdBefore(nowMs: number): void {
    const { bucket, receivedGraceMs, epochMs, nowMs: beganMs } = this.#options
    if (receivedGraceMs === 0) return
    const seqno = this.#before.at(nowMs)
    const holder = beforeHolder(this.purgeHolder)
    const deadlineMs = epochMs + nowMs - beganMs + receivedGraceMs
    if (seqno === this.#safeSeqno) bucket.holds.release(this.vbid, holder)
    else bucket.holds.set(this.vbid, holder, seqno, deadlineMs, false)
  }

  /** When the client will have stood still for longer than it may hold the purger back. */
  #lapsesAtMs(durable: boolean): number | null {
    if (!durable || this.#standingSinceMs === undefined) return null
    const { epochMs, nowMs, purgeHoldMaxMs } = this.#options
    return epochMs + this.#standingSinceMs - nowMs + purgeHoldMaxMs
  }

  /** A client that comes back no further than it was has been standing still all the time. */
  #takeOverStanding(): number | undefined {
    const { bucket, startSeqno, epochMs, nowMs, purgeHoldMaxMs } = this.#options
    const before = bucket.holds.of(this.vbid, this.purgeHolder)
    if (before === undefined || before.seqno < startSeqno) return undefined
    const { lapsesAtMs = null } = before
    if (lapsesAtMs === null) return undefined
    return Math.min(nowMs, nowMs - epochMs + lapsesAtMs - purgeHoldMaxMs)
  }

  #wantedHold(nowMs: number): KnownHold | undefined {
    if (!this.#hasSomethingToLose) return undefined
    if (this.#isUpToDate) this.#standingSinceMs = undefined
    else this.#standingSinceMs ??= nowMs
    const hold = knownHold(this.#holdState(), this.#options, nowMs)
    if (hold !== undefined || this.#options.purgeHoldMaxMs === 0) return hold
    // It has lapsed: it holds nothing, and is kept so that the client does not begin anew.
    return { seqno: this.#safeSeqno, durable: true }
  }

  /** Who has nothing and is sent nothing misses no tombstone. */
  get #hasSomethingToLose(): boolean {
    return this.#sentSeqno > 0 || this.held.length > 0 || this.#highSeqno > 0
  }

  /** Not one who waits for room in its window: it lacks what has not been sent. */
  get #isUpToDate(): boolean {
    return this.#knownSeqno === this.#sentSeqno && this.#sentSeqno >= this.#highSeqno
  }

  /** Of what the client can be told. */
  get #highSeqno(): number {
    const { bucket, isAware } = this.#options
    const vbucket = bucket.vbucket(this.vbid)
    if (vbucket === undefined) return 0
    return isAware ? vbucket.highSeqno : vbucket.collections.defaultSeqno
  }

  #forget(held: HeldSnapshot): void {
    const index = this.held.indexOf(held)
    if (index >= 0) this.held.splice(index, 1)
    for (const checkpoint of this.#checkpoints) {
      if (checkpoint.completes === held) checkpoint.completes = undefined
    }
  }

  #holdState() {
    const isInFlight = this.#knownSeqno !== this.#sentSeqno
    const [oldest] = this.held
    return {
      safeSeqno: this.#safeSeqno,
      // What is in flight from memory, ahead of the first snapshot, is in none of them.
      isInSnapshot: oldest !== undefined && oldest.snapshotStart <= this.#knownSeqno,
      progressAtMs: this.#standingSinceMs ?? Infinity,
      activeAtMs: isInFlight ? this.#activeAtMs : Infinity,
    }
  }
}

/** The hold at what the client was known to have a while ago. */
function beforeHolder(purgeHolder: string): string {
  return `${purgeHolder} before`
}
