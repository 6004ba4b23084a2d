/**
 * Moves frames from streams to the connection: one pump for each connection, woken by whatever
 * makes sending possible. It goes round the streams that have something, as long as neither the
 * output nor the flow-control window is full; when one is, it sleeps until it is drained or
 * acknowledged. So what a slow client costs is bounded by the output's limit.
 *
 * Handing bytes to the kernel takes time, a millisecond for half a MiB, in which nobody else is
 * served: hence a turn sends little while others are, and no more is queued than the kernel may take
 * in one go when it can again. Turns follow each other, with everybody else's work in between.
 *
 * It always runs in a turn of its own, and sends what is ready of answers to stream requests first:
 * they and the frames leave in one write, and each answer before the first frame of its stream.
 */
import { dcpNoopLength, encodeDcpNoop } from '../../protocol/dcp/noop.ts'
import { encodeStreamEnd, streamEndLength } from '../../protocol/dcp/stream-end.ts'
import type { FlowControl } from './flow-control.ts'
import { sendMessage } from './message.ts'
import type { Outbox } from './outbox.ts'
import type { Stream } from './stream.ts'

const KiB = 1024
/** What is sent in one turn of the event loop: a stream's step may exceed it by one frame. */
export const bytesPerTurn = { high: 256 * KiB, medium: 64 * KiB, low: 16 * KiB } as const
/** So many times that while nobody else is served: a turn costs about as much as 64 KiB do. */
const timesWhenAlone = 8
/** Less than this is not worth a write of its own at the end of a turn. */
const bytesPerStepMin = 4 * KiB
export type Priority = keyof typeof bytesPerTurn
/** Streams that get a word in one turn, be it ever so short. */
const stepsPerTurn = 64
/** Nothing more is encoded while so much is queued; as much as a turn's while nobody else is served. */
const queuedBytesMax = 128 * KiB

export interface PumpOptions {
  outbox: Outbox
  flow: FlowControl
  slabBytes: number
  /** What may be queued, and on its way from the disk, at most. */
  heldBytesMax: number
  /** Whether there is somebody who should not wait for long. */
  areOthersServed: () => boolean
  /** There may be room for more than there is. */
  onRoom: () => void
  /** Sends the answers that have to be in front of frames. */
  beforeSending: () => void
}

export class Pump {
  priority: Priority = 'medium'
  readonly #options: PumpOptions
  readonly #ready = new Set<Stream>()
  /** Streams whose end is to be announced. */
  readonly #ended: Stream[] = []
  #scheduled: NodeJS.Immediate | undefined
  #isClosed = false
  /** Nobody else was served lately, as of the last turn. */
  #isAlone = false

  constructor(options: PumpOptions) {
    this.#options = options
  }

  /** Why nothing is being sent although there may be something. */
  get blockedBy(): 'output' | 'window' | undefined {
    const { outbox, flow, heldBytesMax } = this.#options
    const mayBeQueued = this.#isAlone ? this.#bytesPerTurn : queuedBytesMax
    if (outbox.queuedBytes >= Math.min(mayBeQueued, heldBytesMax)) return 'output'
    return flow.roomBytes === 0 ? 'window' : undefined
  }

  /** Whether so many slabs can be taken in; one always can, if anything can be sent at all. */
  hasRoomFor(slabs: number): boolean {
    const { outbox, slabBytes, heldBytesMax } = this.#options
    if (this.#isClosed || this.blockedBy !== undefined) return false
    return slabs === 1 || outbox.queuedBytes + slabs * slabBytes <= heldBytesMax
  }

  wake(stream: Stream): void {
    if (!stream.isAwake) {
      stream.isAwake = true
      this.#ready.add(stream)
    }
    if (this.#scheduled === undefined) this.schedule()
  }

  /** A stream has ended and its client is to be told. */
  announce(stream: Stream): void {
    this.#ended.push(stream)
    this.#run()
  }

  forget(stream: Stream): void {
    this.#ready.delete(stream)
  }

  /** Something was drained, acknowledged or changed. */
  schedule(): void {
    if (this.#isClosed || this.blockedBy !== undefined) return
    this.#options.onRoom()
    if (this.#ready.size > 0) this.#run()
  }

  close(): void {
    this.#isClosed = true
    this.#ready.clear()
    this.#ended.length = 0
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled)
  }

  /** At once, behind what has been encoded so far. */
  sendNoop(opaque: number): void {
    const { outbox } = this.#options
    const offset = outbox.reserve(dcpNoopLength)
    encodeDcpNoop(outbox.slab, offset, { opaque, vbid: 0 })
    outbox.commitUncounted(dcpNoopLength)
    outbox.flush()
  }

  /** Sends the ends that are due at once; for a connection that is about to be closed. */
  flushEnds(): void {
    this.#options.beforeSending()
    this.#writeEnds()
    this.#options.outbox.flush()
  }

  #run(): void {
    if (this.#scheduled !== undefined || this.#isClosed) return
    this.#scheduled = setImmediate(() => {
      this.#scheduled = undefined
      this.#turn()
    })
  }

  #turn(): void {
    const { outbox, flow, slabBytes, areOthersServed, beforeSending } = this.#options
    beforeSending()
    this.#writeEnds()
    this.#isAlone = !areOthersServed()
    const end = outbox.writtenBytes + this.#bytesPerTurn
    for (let steps = 0; steps < stepsPerTurn && this.blockedBy === undefined; steps++) {
      const left = end - outbox.writtenBytes
      if (left < bytesPerStepMin) break
      const room = Math.min(slabBytes, flow.roomBytes, left)
      const stream = this.#takeReady()
      if (stream === undefined) break
      const hasMore = stream.step(room)
      if (hasMore && !stream.isAwake) {
        stream.isAwake = true
        this.#ready.add(stream)
      }
      this.#writeEnds()
    }
    outbox.flush()
    this.schedule()
  }

  get #bytesPerTurn(): number {
    return (this.#isAlone ? timesWhenAlone : 1) * bytesPerTurn[this.priority]
  }

  #takeReady(): Stream | undefined {
    for (const stream of this.#ready) {
      this.#ready.delete(stream)
      stream.isAwake = false
      return stream
    }
    return undefined
  }

  /** Short, and the last of their streams: they do not wait for the window. */
  #writeEnds(): void {
    const { outbox } = this.#options
    for (const { vbid, opaque, endReason, options } of this.#ended) {
      const { streamId } = options.scope
      const message = { vbid, opaque, reason: endReason! }
      sendMessage(outbox, streamId, streamEndLength, encodeStreamEnd, message)
    }
    this.#ended.length = 0
  }
}
