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
import type { Worker } from 'node:worker_threads'
import type { Clock } from '../clock.ts'
import { OperatorError } from '../errors.ts'
import type { EnvironmentFigures } from './flusher-messages.ts'
import type { PinRequest, PinSummary, Scan, ScanRequest, SnapshotReference } from './snapshot.ts'
import type { BackfillStart, FromBackfill, PinnedVbucket, ToBackfill } from './snapshot-messages.ts'
import { ended, started, startThread } from './worker-life.ts'

const shareWindowMs = 1000
const pinsPerHolderMax = 2
/** Slabs that wait to go back to the thread. */
const freedMax = 8

interface Pin {
  id: number
  environment: number
  /** Commits of the environment when it was pinned. */
  generation: number
  pinnedAtMs: number
  figures: EnvironmentFigures
  vbuckets: ReadonlyMap<number, PinnedVbucket>
  holders: Map<string, number>
  references: number
  /** Reads under way: the transaction must outlive them. */
  busy: number
}

export interface SnapshotOptions extends Omit<BackfillStart, 'served'> {
  clock: Clock
  figures: EnvironmentFigures[]
  /** While the disk still shows an earlier life of the vbucket: resolves when it no longer does. */
  whenShown(vbid: number): Promise<void> | undefined
}

export class SnapshotService {
  readonly #options: SnapshotOptions
  readonly #worker: Worker
  readonly #pins = new Map<number, Pin>()
  readonly #answers = new Map<number, (answer: FromBackfill) => void>()
  readonly #figures: EnvironmentFigures[]
  readonly #generations: number[]
  readonly #served = new Int32Array(new SharedArrayBuffer(4))
  #freed: ArrayBuffer[] = []
  #nextRequest = 1
  #nextSnapshot = 1
  /** Snapshots with a lower number may show a vbucket that has been deleted or emptied since. */
  readonly #firstValid = new Map<number, number>()
  /** Pins are made one after the other, so that a burst finds the first one's. */
  #turn: Promise<unknown> = Promise.resolve()
  #closed = false

  /** Resolves when the thread has opened the store; fails when it cannot. */
  readonly ready: Promise<void>

  constructor(options: SnapshotOptions) {
    this.#options = options
    this.#figures = options.figures
    this.#generations = options.figures.map(() => 0)
    const { directories, mapSizeBytes, readerSlotsMax } = options
    const workerData: BackfillStart = {
      served: this.#served,
      directories,
      mapSizeBytes,
      readerSlotsMax,
    }
    this.#worker = startThread('./backfill-worker.js', workerData)
    this.ready = started(this.#worker)
    this.#worker.on('message', (message: FromBackfill) => this.#receive(message))
  }

  /** Somebody has been served who does not stream: the thread lets others have its processor. */
  othersServed(): void {
    this.#served[0] = this.#served[0]! + 1
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
    return pinned
  }

  /** The vbucket has been deleted or emptied: later pins must not show what it was. */
  forget(vbid: number): void {
    this.#firstValid.set(vbid, this.#nextSnapshot)
  }

  environmentOf(vbid: number): number {
    return vbid % this.#options.directories.length
  }

  /** How many snapshots are pinned in an environment: each takes a reader slot. */
  pinnedIn(environment: number): number {
    let count = 0
    for (const pin of this.#pins.values()) if (pin.environment === environment) count++
    return count
  }

  pins(): PinSummary[] {
    const now = this.#options.clock.nowMs()
    return [...this.#pins.values()].map(pin => ({
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
    if (this.#closed) return
    this.#closed = true
    await ended(this.#worker, { kind: 'close' } satisfies ToBackfill)
    const closed: FromBackfill = { kind: 'closed' }
    for (const answer of this.#answers.values()) answer(closed)
    this.#answers.clear()
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
      if (pin.environment === environment && (!oldest || pin.generation < oldest.generation)) {
        oldest = pin
      }
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
    const shared = this.#shared(vbid, request)
    if (shared !== undefined) {
      return this.#reference(shared, vbid, shared.vbuckets.get(vbid)!, request.holder)
    }
    const pin = await this.#makePin(vbid)
    const none: PinnedVbucket = { highSeqno: 0, purgeSeqno: 0 }
    return this.#reference(pin, vbid, pin.vbuckets.get(vbid) ?? none, request.holder)
  }

  /** The newest pin that the vbucket may share, if it shows enough; a client asks a thousand times. */
  #shared(vbid: number, { holder, atLeastSeqno }: PinRequest): Pin | undefined {
    const environment = this.environmentOf(vbid)
    const firstValid = this.#firstValid.get(vbid) ?? 0
    const now = this.#options.clock.nowMs()
    const generation = this.#generations[environment]!
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
      const isRecent =
        pin.generation === generation || Math.abs(now - pin.pinnedAtMs) < shareWindowMs
      if (isRecent && isEnough) shared = pin
    }
    return shared ?? (own >= pinsPerHolderMax ? newestOwn : undefined)
  }

  async #makePin(vbid: number): Promise<Pin> {
    const environment = this.environmentOf(vbid)
    const pin: Pin = {
      id: this.#nextSnapshot++,
      environment,
      generation: this.#generations[environment]!,
      pinnedAtMs: this.#options.clock.nowMs(),
      figures: this.#figures[environment]!,
      vbuckets: new Map(),
      holders: new Map(),
      references: 0,
      busy: 0,
    }
    const { id: snapshotId } = pin
    const answer = await this.#ask(request => ({ kind: 'pin', request, snapshotId, environment }))
    if (answer.kind !== 'pinned') throw stopping()
    pin.vbuckets = new Map(answer.vbuckets)
    this.#pins.set(pin.id, pin)
    return pin
  }

  #reference(pin: Pin, vbid: number, vbucket: PinnedVbucket, holder: string): SnapshotReference {
    pin.references++
    pin.holders.set(holder, (pin.holders.get(holder) ?? 0) + 1)
    let held = true
    return {
      snapshotId: pin.id,
      vbid,
      persistedSeqno: vbucket.highSeqno,
      purgeSeqno: vbucket.purgeSeqno,
      pinnedAtMs: pin.pinnedAtMs,
      scan: request => this.#scan(pin, vbid, request),
      release: () => {
        if (!held) return
        held = false
        pin.references--
        const left = pin.holders.get(holder)! - 1
        if (left === 0) pin.holders.delete(holder)
        else pin.holders.set(holder, left)
        this.#releaseIfUnused(pin)
      },
    }
  }

  #scan(pin: Pin, vbid: number, request: ScanRequest): Scan {
    const { toSeqno, form } = request
    let { afterSeqno } = request
    let closed = false
    return {
      next: async bytesMax => {
        const nothing = { bytes: Buffer.alloc(0), frames: 0, free: () => undefined }
        const none = { ...nothing, lastSeqno: afterSeqno, done: true }
        if (closed) return none
        // An empty slab would pass for the whole of what was asked for.
        if (this.#closed) throw stopping()
        pin.busy++
        const answer = await this.#ask(id => ({
          kind: 'read',
          request: id,
          snapshotId: pin.id,
          vbid,
          afterSeqno,
          toSeqno,
          form,
          bytesMax,
          freed: this.#takeFreed(),
        })).finally(() => this.#unbusy(pin))
        if (closed && answer.kind === 'slab') this.#free(answer.slab)
        if (closed) return none
        if (answer.kind !== 'slab') throw stopping()
        afterSeqno = answer.lastSeqno
        const bytes = Buffer.from(answer.slab, 0, answer.length)
        const { slab, frames, lastSeqno, done } = answer
        return { bytes, frames, lastSeqno, done, free: () => this.#free(slab) }
      },
      close: () => {
        closed = true
      },
    }
  }

  #free(slab: ArrayBuffer): void {
    if (this.#pins.size > 0 && this.#freed.length < freedMax) this.#freed.push(slab)
  }

  #takeFreed(): ArrayBuffer[] {
    const freed = this.#freed
    this.#freed = []
    return freed
  }

  #unbusy(pin: Pin): void {
    pin.busy--
    this.#releaseIfUnused(pin)
  }

  #releaseIfUnused(pin: Pin): void {
    if (pin.references > 0 || pin.busy > 0 || !this.#pins.delete(pin.id)) return
    if (this.#pins.size === 0) this.#freed = []
    if (!this.#closed) this.#send({ kind: 'release', snapshotId: pin.id })
  }

  async #ask(message: (request: number) => ToBackfill): Promise<FromBackfill> {
    const closed: FromBackfill = { kind: 'closed' }
    if (this.#closed) return closed
    const request = this.#nextRequest++
    const answer = await new Promise<FromBackfill>(resolve => {
      this.#answers.set(request, resolve)
      this.#send(message(request))
    })
    if (answer.kind === 'failed') {
      throw new OperatorError(answer.code, answer.message, answer.hint)
    }
    return answer
  }

  #send(message: ToBackfill): void {
    this.#worker.postMessage(message, message.kind === 'read' ? message.freed : [])
  }

  #receive(message: FromBackfill): void {
    if (!('request' in message)) return
    const answer = this.#answers.get(message.request)
    this.#answers.delete(message.request)
    answer?.(message)
  }
}

function stopping(): OperatorError {
  return new OperatorError('stopping', 'the bucket is being closed', 'connect again later')
}

function nextTurn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
