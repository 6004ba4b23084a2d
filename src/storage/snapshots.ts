/**
 * Pinned snapshots: LMDB read transactions with a reason, held by the backfill thread and counted
 * here. A snapshot pins one environment at one commit; all who can be served from the same
 * commit share it. Parking moves a reference from a stream to the parking lot: nothing is copied.
 *
 * Sharing, in this order: a snapshot with nothing committed to the environment since; a young
 * one (`shareWindowMs`), since a client opens its streams in one burst; and, for a client that
 * already pins two commits of the environment, its newest one. A shared snapshot must hold what
 * the stream needs; that it lacks the latest changes only means that they come afterwards.
 */
import type { Clock } from '../clock.ts'
import { BackfillThread, type SlabPart } from './backfill-thread.ts'
import type { EnvironmentFigures } from './flusher-messages.ts'
import { IdlePins } from './idle-pins.ts'
import type { KeyScanRequest } from './key-scan.ts'
import { OpenKeys } from './open-keys.ts'
import { Pin, type Scan } from './pin.ts'
import { ServedLately } from './served-lately.ts'
import type { PinRequest, PinSummary, ScanSlab, SnapshotReference } from './snapshot.ts'
import type { BackfillStart } from './snapshot-messages.ts'

const shareWindowMs = 1000
const pinsPerHolderMax = 2

export interface SnapshotOptions extends Omit<BackfillStart, 'served'> {
  clock: Clock
  figures: EnvironmentFigures[]
  /** The last snapshot in an environment has been let go. */
  onUnpinned(environment: number): void
  /** While the disk still shows an earlier life of the vbucket: resolves when it no longer does. */
  whenShown(vbid: number): Promise<void> | undefined
}

export class SnapshotService {
  readonly #options: SnapshotOptions
  readonly #thread: BackfillThread
  readonly #servedLately = new ServedLately()
  readonly #pins = new Map<number, Pin>()
  /** Of these, the ones that nobody uses. */
  readonly #idle: IdlePins
  readonly #figures: EnvironmentFigures[]
  readonly #generations: number[]
  #nextSnapshot = 1
  #nextScan = 1
  /** Snapshots with a lower number may show a vbucket that has been deleted or emptied since. */
  readonly #firstValid = new Map<number, number>()
  /** Pins are made one after the other, so that a burst finds the first one's. */
  #turn: Promise<unknown> = Promise.resolve()
  /** The last one, by environment. */
  readonly #underWay = new Map<number, Promise<void>>()

  constructor(options: SnapshotOptions) {
    this.#options = options
    this.#figures = options.figures
    this.#generations = options.figures.map(() => 0)
    this.#thread = new BackfillThread(options)
    this.#idle = new IdlePins(options.clock, pin => this.#release(pin))
  }

  /** Resolves when the thread has opened the store; fails when it cannot. */
  get ready(): Promise<void> {
    return this.#thread.ready
  }

  /** Somebody has been served who does not stream: the thread lets others have its processor. */
  othersServed(): void {
    this.#thread.othersServed()
  }

  /** Whether somebody was, a short while ago. */
  get areOthersServed(): boolean {
    return this.#servedLately.look(this.#thread.served, this.#options.clock.monotonicMs())
  }

  /** An environment has a new commit. */
  committed(figures: EnvironmentFigures[]): void {
    figures.forEach((latest, index) => {
      if (latest.writtenBytes !== this.#figures[index]!.writtenBytes) this.#generations[index]!++
      this.#figures[index] = latest
    })
  }

  /**
   * Pins a commit that shows at least `atLeastSeqno` of the vbucket. Fails with an OperatorError
   * when LMDB has no reader slot left or the environment cannot be read.
   */
  pin(vbid: number, request: PinRequest): Promise<SnapshotReference> {
    const pinned = this.#turn.then(() => this.#pin(vbid, request))
    // What a pin is for begins at once and takes time: between two of them others have their turn.
    this.#turn = pinned.then(nextTurn, nextTurn)
    const environment = this.environmentOf(vbid)
    const made = this.#turn.then(() => {
      if (this.#underWay.get(environment) === made) this.#underWay.delete(environment)
    })
    this.#underWay.set(environment, made)
    return pinned
  }

  /** Resolves when a pin that the vbucket may share has been made, if one is under way. */
  pinUnderWay(vbid: number): Promise<void> | undefined {
    return this.#underWay.get(this.environmentOf(vbid))
  }

  /**
   * The same at once, if a snapshot serves that is pinned already. Not for a vbucket of which the
   * disk still shows an earlier life.
   */
  share(vbid: number, request: PinRequest): SnapshotReference | undefined {
    if (this.#thread.isClosed) return undefined
    const pin = this.#shared(vbid, request)
    return pin && this.#refer(pin, vbid, request)
  }

  /**
   * Reads on in several scans, as far as one slab of about so many bytes holds it; a frame may pass
   * the limit. Resolves to one part for each of the first of them: the others are to be read later.
   * When it fails, it is the first scan that did. One call at a time for each scan.
   */
  async read(scans: readonly Scan[], bytesMax: number): Promise<ScanSlab[]> {
    const ranges = scans.map(scan => scan.range())
    for (const { pin } of scans) pin.beginRead()
    try {
      const parts = await this.#thread.read(ranges, bytesMax)
      return parts.map((part, index) => takePart(scans[index]!, part))
    } finally {
      for (const { pin } of scans) pin.endRead()
    }
  }

  /**
   * Begins a range scan in a snapshot, which it lets go when it is closed. Undefined, and the
   * snapshot is let go at once, when `seqno` is given and not the newest of its key in it.
   */
  async openKeys(
    reference: SnapshotReference,
    request: KeyScanRequest,
    seqno: number | undefined,
  ): Promise<OpenKeys | undefined> {
    const scanId = this.#nextScan++
    const { snapshotId } = reference
    let hasSeqno = false
    try {
      hasSeqno = await this.#thread.openKeys(scanId, snapshotId, request, seqno)
    } catch (error) {
      reference.release()
      throw error
    }
    const keys = new OpenKeys(this.#thread, reference, scanId)
    if (hasSeqno) return keys
    keys.close()
    return undefined
  }

  /** The vbucket has been deleted or emptied: later pins must not show what it was. */
  forget(vbid: number): void {
    this.#firstValid.set(vbid, this.#nextSnapshot)
  }

  environmentOf(vbid: number): number {
    return vbid % this.#options.directories.length
  }

  /**
   * Runs `work` while nothing is pinned in an environment, and nothing gets pinned meanwhile; it ought
   * to be short. Undefined when something is.
   */
  whileUnpinned<Result>(environment: number, work: () => Promise<Result>) {
    const done = this.#turn.then(() => (this.pinnedIn(environment) > 0 ? undefined : work()))
    this.#turn = done.then(nextTurn, nextTurn)
    return done
  }

  /** The thread opens the copy of an environment; fails when it cannot. */
  openCopy(environment: number, copy: string): Promise<void> {
    return this.#thread.openCopy(environment, copy)
  }

  /**
   * Later pins are made in the copy, or it is dropped. Only while nothing is pinned. Resolves when the
   * thread has closed the other one.
   */
  closeCopy(environment: number, options: { readonly isAdopted: boolean }): Promise<void> {
    return this.#thread.closeCopy(environment, options.isAdopted)
  }

  /** How many snapshots are pinned in an environment: each takes a reader slot. */
  pinnedIn(environment: number): number {
    let count = 0
    for (const pin of this.#pins.values()) if (pin.environment === environment) count++
    return count
  }

  pins(): PinSummary[] {
    const now = this.#options.clock.nowMs()
    const used = [...this.#pins.values()].filter(({ references }) => references > 0)
    return used.map(pin => ({
      snapshotId: pin.id,
      environment: pin.environment,
      references: pin.references,
      ageMs: now - pin.pinnedAtMs,
      holders: [...pin.holders.keys()],
    }))
  }

  /** Bytes on disk that pinned snapshots keep from being reused. */
  pinnedBytes(): number {
    return this.heldBytes().reduce((sum, bytes) => sum + bytes, 0)
  }

  /** The same by environment. */
  heldBytes(): number[] {
    return this.#figures.map((_, index) => this.#pinnedBytesIn(index))
  }

  async close(): Promise<void> {
    this.#idle.close()
    await this.#thread.close()
    this.#pins.clear()
  }

  /**
   * Free pages are either reusable or held by the oldest snapshot. Of those that were free when
   * it was pinned, what was written since beyond the file's growth has been taken again; every
   * other free page was freed since and is held.
   */
  #pinnedBytesIn(environment: number): number {
    let oldest: Pin | undefined
    for (const pin of this.#pins.values()) {
      if (pin.environment !== environment || pin.references === 0) continue
      if (!oldest || pin.generation < oldest.generation) oldest = pin
    }
    if (oldest === undefined) return 0
    const then = oldest.figures
    const now = this.#figures[environment]!
    const growth = now.allocatedBytes - then.allocatedBytes
    const taken = now.writtenBytes - then.writtenBytes - growth
    const freeThen = then.allocatedBytes - then.liveBytes
    const freeNow = now.allocatedBytes - now.liveBytes
    return Math.max(0, freeNow - Math.max(0, freeThen - Math.max(0, taken)))
  }

  async #pin(vbid: number, request: PinRequest): Promise<SnapshotReference> {
    await this.#options.whenShown(vbid)
    const pin = this.#shared(vbid, request) ?? (await this.#makePin(this.environmentOf(vbid)))
    return this.#refer(pin, vbid, request)
  }

  #refer(pin: Pin, vbid: number, { holder }: PinRequest): SnapshotReference {
    this.#idle.use(pin)
    return pin.refer(vbid, holder)
  }

  /** The newest pin that the vbucket may share, if it shows enough; a client asks a thousand times. */
  #shared(vbid: number, { holder, atLeastSeqno }: PinRequest): Pin | undefined {
    const environment = this.environmentOf(vbid)
    const firstValid = this.#firstValid.get(vbid) ?? 0
    let own = 0
    let shared: Pin | undefined
    let newestOwn: Pin | undefined
    for (const pin of this.#pins.values()) {
      if (pin.environment !== environment || pin.id < firstValid) continue
      const vbucket = pin.vbuckets.get(vbid)
      const isEnough = vbucket !== undefined && vbucket.highSeqno >= atLeastSeqno
      if (pin.holders.has(holder)) {
        own++
        newestOwn = isEnough ? pin : undefined
      }
      if (isEnough && this.#isRecent(pin)) shared = pin
    }
    return shared ?? (own >= pinsPerHolderMax ? newestOwn : undefined)
  }

  async #makePin(environment: number): Promise<Pin> {
    const id = this.#nextSnapshot++
    const generation = this.#generations[environment]!
    const pinnedAtMs = this.#options.clock.nowMs()
    const figures = this.#figures[environment]!
    const vbuckets = await this.#thread.pin(id, environment)
    const onUnused = (unused: Pin) => this.#unused(unused)
    const pin = new Pin({ id, environment, generation, pinnedAtMs, figures, vbuckets, onUnused })
    this.#pins.set(id, pin)
    return pin
  }

  #isRecent({ environment, generation, pinnedAtMs }: Pin): boolean {
    if (generation === this.#generations[environment]) return true
    return Math.abs(this.#options.clock.nowMs() - pinnedAtMs) < shareWindowMs
  }

  #unused(pin: Pin): void {
    if (this.#isRecent(pin) && !this.#thread.isClosed) this.#idle.keep(pin)
    else this.#release(pin)
  }

  #release({ id, environment }: Pin): void {
    if (!this.#pins.delete(id)) return
    this.#thread.release(id)
    if (this.pinnedIn(environment) === 0) this.#options.onUnpinned(environment)
  }
}

/** An empty slab stands for what was read of a scan that has been closed meanwhile. */
function takePart(scan: Scan, part: SlabPart): ScanSlab {
  if (!scan.isClosed) {
    scan.seqno = part.lastSeqno
    scan.block = part.block
    return part
  }
  part.free()
  const bytes = Buffer.alloc(0)
  const { seqno: lastSeqno } = scan
  return { bytes, frames: 0, lastSeqno, frameSeqno: lastSeqno, done: true, free: () => undefined }
}

function nextTurn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
