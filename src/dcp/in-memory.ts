/**
 * The in-memory phase of a stream: snapshots taken from the change log, each up to what is the
 * newest change when it begins. Within a snapshot a key is sent once, in its newest version.
 *
 * Changes are encoded into the outbox's slab a step at a time; nothing is kept for a slow client.
 * When the log has meanwhile given up what the client still needs, the phase is over and the
 * stream goes back to the disk.
 */
import { encodeSeqnoAdvanced, seqnoAdvancedLength } from '../../protocol/dcp/seqno-advanced.ts'
import { MarkerFlag } from '../../protocol/dcp/snapshot-marker.ts'
import type { RecordFilter } from '../storage/record-filter.ts'
import { OutgoingFrame, type FrameForm } from '../storage/record-frame.ts'
import { RecordView } from '../storage/record.ts'
import type { ChangeLog } from '../vbucket/change-log.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { sendMessage } from './message.ts'
import type { Outbox } from './outbox.ts'

export interface InMemoryOptions {
  vbucket: Vbucket
  changes: ChangeLog
  outbox: Outbox
  form: FrameForm
  filter: RecordFilter
  /** Everything up to this seqno has been sent, or is nothing for the client. */
  afterSeqno: number
  /** Of the last frame that was sent before: where the client is. */
  sentSeqno: number
  writeMarker(startSeqno: number, endSeqno: number, flags: number): void
}

/** 'whole': a snapshot has just been sent whole. 'behind': the log does not reach back enough. */
export type InMemoryStep = 'more' | 'whole' | 'idle' | 'behind'

const skippedCostBytes = 32

const view = new RecordView()
const frame = new OutgoingFrame()

export class InMemoryPhase {
  readonly #options: InMemoryOptions
  #cursor: number
  #snapshotStart: number
  #snapshotEnd: number
  #sentSeqno: number
  #flags: number = MarkerFlag.memory | MarkerFlag.checkpoint

  constructor(options: InMemoryOptions) {
    this.#options = options
    this.#cursor = options.afterSeqno
    this.#snapshotStart = options.sentSeqno
    this.#snapshotEnd = options.afterSeqno
    this.#sentSeqno = options.sentSeqno
  }

  /** Everything up to here has been sent, or a newer version of it will be. */
  get cursor(): number {
    return this.#cursor
  }

  /** Of the last frame sent. */
  get sentSeqno(): number {
    return this.#sentSeqno
  }

  /** Of the snapshot that is being sent, or was sent last. */
  get snapshotEnd(): number {
    return this.#snapshotEnd
  }

  /**
   * Where a client that has what was sent goes back to if a crash loses the rest of its snapshot,
   * which may not be on disk yet.
   */
  get safeSeqno(): number {
    return this.#cursor === this.#snapshotEnd ? this.#sentSeqno : this.#snapshotStart
  }

  /** Sends up to `room` bytes, or one frame more. */
  step(room: number): InMemoryStep {
    const { vbucket, changes, outbox, form, filter } = this.#options
    if (this.#cursor === this.#snapshotEnd) {
      if (vbucket.highSeqno <= this.#cursor) return 'idle'
      if (!this.#reaches(vbucket)) return 'behind'
      if (!this.#begin(vbucket)) return 'whole'
    }
    for (let bytes = 0; bytes < room;) {
      const seqno = this.#cursor + 1
      if (!changes.at(vbucket.id, seqno, view)) return 'behind'
      const newer = changes.supersededBy(view)
      if ((newer === 0 || newer > this.#snapshotEnd) && filter.passes(view)) {
        const { length } = frame.of(view, form)
        const offset = outbox.reserve(length)
        frame.write(outbox.slab, offset)
        outbox.commit(length)
        bytes += length
        this.#sentSeqno = seqno
      } else {
        // Passing over a change takes time too.
        bytes += skippedCostBytes
      }
      this.#cursor = seqno
      if (seqno < this.#snapshotEnd) continue
      if (this.#sentSeqno < seqno) this.#advance(seqno)
      return 'whole'
    }
    return 'more'
  }

  #reaches(vbucket: Vbucket): boolean {
    const lowest = this.#options.changes.lowestSeqno(vbucket.id, vbucket.highSeqno)
    return lowest <= this.#cursor + 1
  }

  /** False: of what is new, the client is told nothing. */
  #begin({ highSeqno, collections }: Vbucket): boolean {
    const { form } = this.#options
    // Who knows of no collections cannot be told that others have changed: its snapshots end with
    // a change in the default one.
    const endSeqno = form.collections ? highSeqno : Math.min(highSeqno, collections.defaultSeqno)
    if (endSeqno <= this.#cursor) {
      this.#cursor = highSeqno
      this.#snapshotEnd = highSeqno
      return false
    }
    // From where the client is, also when there was nothing for it since.
    this.#options.writeMarker(this.#sentSeqno, endSeqno, this.#flags)
    this.#snapshotStart = this.#sentSeqno
    this.#snapshotEnd = endSeqno
    // Only the first snapshot of a phase opens a checkpoint; the next ones continue it.
    this.#flags = MarkerFlag.memory
    return true
  }

  /** The snapshot ends with what is not for this stream. */
  #advance(seqno: number): void {
    const { outbox, form, vbucket } = this.#options
    const { streamId, opaque } = form
    const message = { vbid: vbucket.id, opaque, seqno }
    sendMessage(outbox, streamId, seqnoAdvancedLength, encodeSeqnoAdvanced, message)
    this.#sentSeqno = seqno
  }
}
