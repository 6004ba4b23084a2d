/**
 * The range scans of a bucket: each reads the keys of one vbucket in order, out of one pinned
 * snapshot, as far as its client asks it to.
 *
 *   create --> idle --> continued --+--> idle        there is more
 *               |           |       +--> gone        it has been read to its end
 *               +-----------+----------> gone        cancelled, too old, the vbucket is no longer
 *               |           |                        active, or its client left while it was read
 *               +-----------+----------> dropped     with its collection: it pins nothing, and is
 *                                                    gone once its client was told, or too old
 */
import type { EventEmitter } from 'node:events'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Settings } from '../config/settings.ts'
import { StatusError } from '../errors.ts'
import type { Random } from '../random.ts'
import type { KeyRange, KeyScanRequest, KeysRead, Sampling } from '../storage/key-scan.ts'
import type { OpenKeys } from '../storage/open-keys.ts'
import type { ItemForm } from '../storage/scanned-items.ts'
import type { SnapshotReference } from '../storage/snapshot.ts'
import type { SnapshotService } from '../storage/snapshots.ts'
import type { BucketEvents } from './bucket-options.ts'
import type { Manifest } from './collections/manifest.ts'
import type { Vbucket } from './vbucket.ts'

/** What the snapshot of a scan has to show. */
export interface SnapshotRequirements {
  vbuuid: bigint
  seqno: number
  /** The seqno has to be the newest of its key still. */
  seqnoExists: boolean
  /** How long to wait until it is on disk; 0: not at all. */
  timeoutMs: number
}

export interface RangeScanRequest {
  /** Whose keys `range` has. */
  collection: number
  range: KeyRange
  sampling: Sampling | undefined
  form: ItemForm
  requirements: SnapshotRequirements | undefined
}

export interface RangeScanLimits {
  itemsMax: number
  timeMaxMs: number
  bytesMax: number
}

/** What was read of a scan. */
export interface ScannedPart {
  bytes: Buffer
  keyOnly: boolean
  isEnd: boolean
}

export interface RangeScansOptions {
  readonly settings: Pick<
    Settings,
    'rangeScansMax' | 'rangeScanSeconds' | 'pinnedBytesMax' | 'readerSlotsMax'
  >
  readonly clock: Clock
  readonly random: Random
  readonly bucket: ScannedBucket
}

/** What scans need of their bucket. */
export interface ScannedBucket {
  readonly snapshots: SnapshotService
  readonly events: EventEmitter<BucketEvents>
  readonly collections: { readonly manifest: Pick<Manifest, 'collection'> }
  vbucket(vbid: number): Vbucket | undefined
  whenPersisted(vbid: number, seqno: number, signal: AbortSignal): Promise<void>
}

interface RangeScan {
  readonly id: string
  readonly vbid: number
  readonly collection: number
  readonly keyOnly: boolean
  readonly keys: OpenKeys
  readonly timer: Timer
  isContinued: boolean
  /** Why it is gone. */
  ended: Status | undefined
}

const perVbucketMax = 16
/** Read at a time, so that who asks for all of a vbucket gets it in pieces. */
const answerBytesMax = 256 * 1024
/** With a time limit, so many items are read before the clock is looked at. */
const timedItems = 64
/** Keys that a scan keeps in memory, of which up to twice as many while they are gathered. */
const gatheredMax = 8192
const holder = 'range scans'

export class RangeScans {
  readonly #options: RangeScansOptions
  readonly #scans = new Map<string, RangeScan>()
  /** Being created, by vbucket. */
  readonly #creating: number[] = []

  constructor(options: RangeScansOptions) {
    this.#options = options
    const { events } = options.bucket
    events.on('state', (vbid, _before, after) => {
      if (after !== VbucketState.active) this.#endOf(vbid)
    })
    events.on('vbucket-deleted', vbid => this.#endOf(vbid))
    events.on('flushed', () => this.#endAll(Status.rangeScanCancelled))
    events.on('manifest', dropped => this.#endIn(dropped))
  }

  get count(): number {
    return this.#scans.size
  }

  /** Begins a scan; resolves to its id. Fails with a StatusError. */
  async create(vbucket: Vbucket, request: RangeScanRequest): Promise<string> {
    this.#checkLimits(vbucket.id)
    this.#creating.push(vbucket.id)
    try {
      await this.#meet(vbucket, request.requirements)
      return await this.#open(vbucket, request)
    } finally {
      this.#creating.splice(this.#creating.indexOf(vbucket.id), 1)
    }
  }

  /** Reads on. Fails with a StatusError. */
  async continue(vbid: number, id: string, limits: RangeScanLimits): Promise<ScannedPart> {
    const scan = this.#find(vbid, id)
    if (scan.ended !== undefined) this.#assertGoesOn(scan)
    if (scan.isContinued) throw new StatusError(Status.busy, 'the scan is being continued')
    scan.isContinued = true
    try {
      const { bytes, state } = await this.#read(scan, limits)
      this.#assertGoesOn(scan)
      const isEnd = state === 'end'
      if (isEnd) this.#end(scan, Status.keyNotFound)
      return { bytes, keyOnly: scan.keyOnly, isEnd }
    } catch (error) {
      this.#end(scan, Status.rangeScanCancelled)
      throw error
    } finally {
      scan.isContinued = false
    }
  }

  /** The first keys of a range, as a scan shows them; no more than fit into one answer or two. */
  async firstKeys(vbucket: Vbucket, request: RangeScanRequest, itemsMax: number): Promise<Buffer> {
    this.#checkLimits(vbucket.id)
    this.#creating.push(vbucket.id)
    let keys: OpenKeys | undefined
    try {
      keys = await this.#pin(vbucket, request)
      const parts: Buffer[] = []
      let items = 0
      let bytes = 0
      for (let state = ''; state !== 'end' && items < itemsMax && bytes < answerBytesMax;) {
        const read = await keys!.read({ itemsMax: itemsMax - items, bytesMax: answerBytesMax })
        parts.push(read.bytes)
        items += read.items
        bytes += read.bytes.length
        state = read.state
      }
      return Buffer.concat(parts, bytes)
    } finally {
      keys?.close()
      this.#creating.splice(this.#creating.indexOf(vbucket.id), 1)
    }
  }

  cancel(vbid: number, id: string): void {
    this.#end(this.#find(vbid, id), Status.rangeScanCancelled)
  }

  /** The client that continues the scan is gone: nobody knows how far it has come. */
  abandon(id: string): void {
    const scan = this.#scans.get(id)
    if (scan?.isContinued) this.#end(scan, Status.rangeScanCancelled)
  }

  close(): void {
    this.#endAll(Status.rangeScanCancelled)
  }

  #find(vbid: number, id: string): RangeScan {
    const scan = this.#scans.get(id)
    if (scan?.vbid === vbid) return scan
    throw new StatusError(Status.keyNotFound, 'no range scan has this id')
  }

  #checkLimits(vbid: number): void {
    const { settings, bucket } = this.#options
    const { snapshots } = bucket
    const { rangeScansMax, pinnedBytesMax, readerSlotsMax } = settings
    let ofVbucket = this.#creating.filter(creating => creating === vbid).length
    for (const scan of this.#scans.values()) if (scan.vbid === vbid) ofVbucket++
    const environment = snapshots.environmentOf(vbid)
    const isTooMuch =
      this.#scans.size + this.#creating.length >= rangeScansMax ||
      ofVbucket >= perVbucketMax ||
      snapshots.pinnedBytes() >= pinnedBytesMax ||
      snapshots.pinnedIn(environment) >= readerSlotsMax
    if (isTooMuch) throw new StatusError(Status.busy, 'as many range scans as there may be')
  }

  /** Waits until the vbucket is what the client wants to see. */
  async #meet(vbucket: Vbucket, required: SnapshotRequirements | undefined): Promise<void> {
    if (required === undefined) return
    checkHistory(vbucket, required)
    const { id, persistedSeqno } = vbucket
    const { seqno, timeoutMs } = required
    if (persistedSeqno >= seqno) return
    const late = new StatusError(Status.temporaryFailure, `seqno ${seqno} is not on disk yet`)
    if (timeoutMs === 0) throw late
    const { clock, bucket } = this.#options
    const patience = new AbortController()
    const timer = clock.after(timeoutMs, () => patience.abort(late))
    try {
      await bucket.whenPersisted(id, seqno, patience.signal)
    } finally {
      timer.cancel()
    }
  }

  async #open(vbucket: Vbucket, request: RangeScanRequest): Promise<string> {
    const { clock, random, settings } = this.#options
    const { collection, form } = request
    const vbid = vbucket.id
    const keys = await this.#pin(vbucket, request)
    if (keys === undefined) {
      throw new StatusError(Status.notStored, 'the seqno is not the newest of a document')
    }
    const id = `${hex(random)}${hex(random)}`
    try {
      const read = await gathered(keys)
      this.#assertServed(vbucket, request)
      if (read.state === 'end') throw new StatusError(Status.keyNotFound, 'the range is empty')
    } catch (error) {
      keys.close()
      throw error
    }
    const timer = clock.after(settings.rangeScanSeconds * 1000, () => {
      this.#end(scan, Status.rangeScanCancelled)
    })
    const { keyOnly } = form
    const what = { id, vbid, collection, keyOnly, keys, timer }
    const scan: RangeScan = { ...what, isContinued: false, ended: undefined }
    this.#scans.set(id, scan)
    return id
  }

  /** Undefined when the seqno that has to exist does not. */
  async #pin(vbucket: Vbucket, request: RangeScanRequest): Promise<OpenKeys | undefined> {
    const { snapshots } = this.#options.bucket
    const { requirements } = request
    const atLeastSeqno = Math.max(vbucket.persistedSeqno, requirements?.seqno ?? 0)
    const pinRequest = { holder, reason: 'range scan', atLeastSeqno }
    const reference = await snapshots.pin(vbucket.id, pinRequest)
    const seqno = requirements?.seqnoExists ? requirements.seqno : undefined
    return snapshots.openKeys(reference, this.#keysOf(reference, request), seqno)
  }

  #keysOf(reference: SnapshotReference, request: RangeScanRequest): KeyScanRequest {
    const { range, sampling, form } = request
    const { vbid, persistedSeqno: highSeqno } = reference
    const nowSeconds = Math.floor(this.#options.clock.nowMs() / 1000)
    return { vbid, range, sampling, highSeqno, nowSeconds, gatheredMax, form }
  }

  /** What was true of the vbucket at first may not be any more. */
  #assertServed(vbucket: Vbucket, { collection, requirements }: RangeScanRequest): void {
    const { bucket } = this.#options
    const isServed = bucket.vbucket(vbucket.id) === vbucket && vbucket.isActive
    if (!isServed) throw new StatusError(Status.notMyVbucket, 'the vbucket is not active')
    if (bucket.collections.manifest.collection(collection) === undefined) {
      throw new StatusError(Status.unknownCollection, 'the collection has been dropped')
    }
    if (requirements !== undefined) checkHistory(vbucket, requirements)
  }

  async #read(scan: RangeScan, limits: RangeScanLimits): Promise<KeysRead> {
    const { clock } = this.#options
    const until = limits.timeMaxMs > 0 ? clock.monotonicMs() + limits.timeMaxMs : Infinity
    const itemsMax = limits.itemsMax || Infinity
    const bytesMax = Math.min(limits.bytesMax || Infinity, answerBytesMax)
    const parts: Buffer[] = []
    let items = 0
    let bytes = 0
    for (;;) {
      const itemsAtOnce = Math.min(itemsMax - items, until === Infinity ? Infinity : timedItems)
      const limitsNow = { itemsMax: itemsAtOnce, bytesMax: bytesMax - bytes }
      const read = await scan.keys.read(limitsNow)
      parts.push(read.bytes)
      items += read.items
      bytes += read.bytes.length
      const isOver = items >= itemsMax || bytes >= bytesMax || clock.monotonicMs() >= until
      if (scan.ended !== undefined || read.state === 'end' || (items > 0 && isOver)) {
        return { bytes: Buffer.concat(parts, bytes), items, state: read.state }
      }
    }
  }

  #assertGoesOn(scan: RangeScan): void {
    if (scan.ended === undefined) return
    this.#scans.delete(scan.id)
    scan.timer.cancel()
    throw new StatusError(scan.ended, 'the scan was ended')
  }

  #end(scan: RangeScan, why: Status): void {
    if (!this.#scans.delete(scan.id)) return
    scan.ended ??= why
    scan.timer.cancel()
    scan.keys.close()
  }

  #endOf(vbid: number): void {
    for (const scan of this.#scans.values()) {
      if (scan.vbid === vbid) this.#end(scan, Status.notMyVbucket)
    }
  }

  #endIn(dropped: readonly number[]): void {
    for (const scan of this.#scans.values()) {
      if (!dropped.includes(scan.collection)) continue
      scan.ended ??= Status.unknownCollection
      scan.keys.close()
    }
  }

  #endAll(why: Status): void {
    for (const scan of this.#scans.values()) this.#end(scan, why)
  }
}

/** Reads nothing until it is known whether there is something. */
async function gathered(keys: OpenKeys): Promise<KeysRead> {
  for (;;) {
    const read = await keys.read({ itemsMax: 0, bytesMax: 0 })
    if (read.state !== 'gathering') return read
  }
}

function checkHistory({ failoverLog }: Vbucket, { vbuuid }: SnapshotRequirements): void {
  if (failoverLog.vbuuid === vbuuid) return
  throw new StatusError(Status.vbuuidNotEqual, `the vbucket uuid is ${failoverLog.vbuuid}`)
}

function hex(random: Random): string {
  return random.uint64().toString(16).padStart(16, '0')
}
