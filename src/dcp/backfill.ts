/**
 * One disk snapshot being sent: its marker, then slabs of frames that a worker reads out of the
 * pinned snapshot. At most one slab is here at a time; the next is read when it has been sent, so
 * that a slow client costs one slab and nothing else.
 */
import { headerLength } from '../../protocol/header.ts'
import { readSeqno } from '../../protocol/bytes.ts'
import { encodeSeqnoAdvanced, seqnoAdvancedLength } from '../../protocol/dcp/seqno-advanced.ts'
import { MarkerFlag } from '../../protocol/dcp/snapshot-marker.ts'
import type { FrameForm } from '../storage/record-frame.ts'
import type { Scan } from '../storage/pin.ts'
import type { ScanSlab, SnapshotReference } from '../storage/snapshot.ts'
import { framingLengthAt } from '../storage/stream-id-frame.ts'
import { sendMessage } from './message.ts'
import type { HeldSnapshot } from './parking/held-snapshot.ts'
import { cutFrames, type Outbox } from './outbox.ts'

/** Slabs up to this length are copied: many small vbuckets leave in one piece. */
const copiedBytesMax = 8 * 1024

export interface PinnedReference {
  readonly snapshot: SnapshotReference
  release(): void
}

export interface BackfillPlan {
  /** Released when the backfill is closed. */
  reference: PinnedReference
  /** The bounds its marker names. */
  snapshotStart: number
  snapshotEnd: number
  /**
   * Behind the snapshot's end, up to here, there is nothing that the client can be told: changes in
   * collections that it knows nothing of.
   */
  coveredSeqno: number
  /** What the client has: above the start when it goes on in the middle. */
  afterSeqno: number
  /** The client's claim to the snapshot, if it may come back for it. */
  held: HeldSnapshot | undefined
}

export interface BackfillOptions extends BackfillPlan {
  vbid: number
  outbox: Outbox
  form: FrameForm
  writeMarker(startSeqno: number, endSeqno: number, flags: number, purgeSeqno: number): void
}

/** 'next': its slab has been sent and another is to be read. 'waiting': for that slab. */
export type BackfillStep = 'more' | 'next' | 'whole' | 'waiting'

export class Backfill {
  readonly snapshotStart: number
  readonly snapshotEnd: number
  readonly coveredSeqno: number
  readonly held: HeldSnapshot | undefined
  readonly scan: Scan
  readonly #options: BackfillOptions
  #slab: ScanSlab | undefined
  #offset = 0
  #sentSeqno: number
  #isMarked = false
  #isClosed = false
  /** Bytes of frames sent. */
  sentBytes = 0

  constructor(options: BackfillOptions) {
    const { reference, snapshotStart, snapshotEnd, afterSeqno, held, form } = options
    this.#options = options
    this.coveredSeqno = options.coveredSeqno
    this.snapshotStart = snapshotStart
    this.snapshotEnd = snapshotEnd
    this.held = held
    this.#sentSeqno = afterSeqno
    this.scan = reference.snapshot.scan({ afterSeqno, toSeqno: snapshotEnd, form })
  }

  get snapshotId(): number {
    return this.#options.reference.snapshot.snapshotId
  }

  get sentSeqno(): number {
    return this.#sentSeqno
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** What was read of its scan, once what was read before has been sent. */
  take(slab: ScanSlab): void {
    this.#slab = slab
    this.#offset = 0
  }

  /** Sends up to `room` bytes, or one frame more. */
  step(room: number): BackfillStep {
    const slab = this.#slab
    if (slab === undefined) return 'waiting'
    const { outbox, afterSeqno } = this.#options
    if (this.snapshotEnd > afterSeqno) this.#mark()
    if (this.#offset < slab.bytes.length) this.#send(slab, room)
    if (this.#offset < slab.bytes.length) return 'more'
    if (slab.bytes.length === 0) slab.free()
    this.#slab = undefined
    if (!slab.done) return 'next'
    if (this.#sentSeqno < this.snapshotEnd) this.#advance(outbox)
    return 'whole'
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#slab = undefined
    this.scan.close()
    this.#options.reference.release()
  }

  #mark(): void {
    if (this.#isMarked) return
    this.#isMarked = true
    const { snapshot } = this.#options.reference
    const flags = MarkerFlag.disk | MarkerFlag.checkpoint
    this.#options.writeMarker(this.snapshotStart, this.snapshotEnd, flags, snapshot.purgeSeqno)
  }

  #send(slab: ScanSlab, room: number): void {
    const { bytes } = slab
    const { outbox } = this.#options
    const from = this.#offset
    if (bytes.length - from <= room) {
      this.#handOver(slab)
      this.#offset = bytes.length
      this.#sentSeqno = slab.frameSeqno
    } else {
      const { end, last } = cutFrames(bytes, from, room)
      outbox.pass(bytes.subarray(from, end))
      this.#offset = end
      // All kinds of change begin their extras with the seqno.
      this.#sentSeqno = readSeqno(bytes, last + headerLength + framingLengthAt(bytes, last))
    }
    this.sentBytes += this.#offset - from
  }

  /** What is left of a slab. Its memory is free once nothing of it waits for the kernel. */
  #handOver(slab: ScanSlab): void {
    const { bytes } = slab
    const { outbox } = this.#options
    if (this.#offset === 0 && bytes.length <= copiedBytesMax) {
      outbox.copy(bytes)
      slab.free()
      return
    }
    // What was sent of it before is with the kernel by then: it leaves in order.
    outbox.pass(this.#offset === 0 ? bytes : bytes.subarray(this.#offset), () => slab.free())
  }

  /** The snapshot's end is no frame that is sent: the client is told that it has all of it. */
  #advance(outbox: Outbox): void {
    const { vbid, form } = this.#options
    const { streamId, opaque } = form
    const message = { vbid, opaque, seqno: this.snapshotEnd }
    sendMessage(outbox, streamId, seqnoAdvancedLength, encodeSeqnoAdvanced, message)
    this.#sentSeqno = this.snapshotEnd
  }
}
