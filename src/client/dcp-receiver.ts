import { decodeSeqnoAdvanced } from '../../protocol/dcp/seqno-advanced.ts'
import { decodeSnapshotMarker, MarkerVersion } from '../../protocol/dcp/snapshot-marker.ts'
import { decodeStreamEnd } from '../../protocol/dcp/stream-end.ts'
import { decodeSystemEvent } from '../../protocol/dcp/system-event.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Opcode, opcodeName } from '../../protocol/opcode.ts'
import type { Arrivals } from './arrivals.ts'
import { changeSeqno, isWholeChange, readChange, type DcpEvent } from './change.ts'
import type { CollectionNames } from './collection-names.ts'
import { windowBytes, type DcpSession } from './dcp-session.ts'
import { protocolError, type ClientError } from './errors.ts'
import type { EventQueue } from './event-queue.ts'
import { readSystemEvent } from './system-event.ts'
import type { EventContext, VbucketStream } from './vbucket-stream.ts'

export interface ReceiverEvents {
  /** Something was queued. */
  queued(): void
  /** Answers whether the stream is going to be opened again. */
  ended(stream: VbucketStream, reason: number): { reopens: boolean; reason: string }
  /** The server broke the protocol: there is no telling what else it got wrong. */
  violated(error: ClientError): void
}

/**
 * Turns the messages of streams into queued events. Seqnos of a stream must grow, and lie within
 * the snapshot announced: a consumer must never see anything else, so everything else is the end.
 */
export class DcpReceiver {
  readonly #streams: ReadonlyMap<number, VbucketStream>
  readonly #queue: EventQueue
  readonly #names: CollectionNames | undefined
  readonly #arrivals: Arrivals | undefined
  readonly #events: ReceiverEvents

  /**
   * With `names`, streams are of collections; they learn what events tell. With `arrivals`, changes go to
   * them.
   */
  constructor(
    streams: ReadonlyMap<number, VbucketStream>,
    queue: EventQueue,
    events: ReceiverEvents & { names: CollectionNames | undefined; arrivals: Arrivals | undefined },
  ) {
    this.#streams = streams
    this.#queue = queue
    this.#names = events.names
    this.#arrivals = events.arrivals
    this.#events = events
  }

  receive(frame: Frame, session: DcpSession): void {
    const stream = this.#streams.get(frame.vbid)
    if (!stream || stream.phase !== 'open' || stream.opaque !== frame.opaque) {
      // On its way when the stream was closed.
      session.consumed(windowBytes(frame))
      return
    }
    const read = readers[frame.opcode]
    if (!read) {
      session.consumed(windowBytes(frame))
      return
    }
    const objection = read(this, frame, stream)
    if (objection !== undefined)
      this.#events.violated(protocolError(`${opcodeName(frame.opcode)}: ${objection}`))
  }

  change(frame: Frame, stream: VbucketStream): string | undefined {
    if (!isWholeChange(frame, this.#names !== undefined)) return 'malformed'
    const seqno = changeSeqno(frame)
    const objection = stream.objection(seqno)
    if (objection !== undefined) return objection
    const { context } = stream
    stream.advance(seqno, context)
    if (stream.backoff.attempts > 0) stream.backoff.reset()
    stream.rollbacksInRow = 0
    if (this.#arrivals) this.#arrivals.change(frame, seqno, stream)
    else this.#push(frame, readChange(frame, seqno, this.#names), context, seqno)
    return undefined
  }

  systemEvent(frame: Frame, stream: VbucketStream): string | undefined {
    const message = decodeSystemEvent(frame)
    if (!message || !this.#names) return 'malformed'
    const { vbid, seqno } = message
    const objection = stream.objection(seqno)
    if (objection !== undefined) return objection
    const { context } = stream
    stream.advance(seqno, context)
    // Of an event that is unknown here, there is nothing to tell but where it was.
    const event = readSystemEvent(message, this.#names) ?? { type: 'seqno-advanced', vbid, seqno }
    this.#push(frame, event, context, seqno)
    return undefined
  }

  marker(frame: Frame, stream: VbucketStream): string | undefined {
    const marker = decodeSnapshotMarker(frame)
    if (!marker) return 'malformed'
    const { vbid, startSeqno, endSeqno, flags } = marker
    if (startSeqno > endSeqno) return `vbucket ${vbid}: from ${startSeqno} to ${endSeqno}`
    const told = marker.version === MarkerVersion.v22
    // Markers of what is in memory tell nothing new of purging: what was known stays true.
    const purgeSeqno = (told && marker.purgeSeqno) || stream.context.snapshot.purgeSeqno
    const context = stream.snapshotBegan({
      start: startSeqno,
      end: endSeqno,
      ...(purgeSeqno === undefined ? {} : { purgeSeqno }),
    })
    const event = { type: 'snapshot-marker', vbid, startSeqno, endSeqno, flags } as const
    this.#push(frame, event, context, -1)
    return undefined
  }

  advanced(frame: Frame, stream: VbucketStream): string | undefined {
    const message = decodeSeqnoAdvanced(frame)
    if (!message) return 'malformed'
    const { vbid, seqno } = message
    const { start, end } = stream.context.snapshot
    // It may stand for a whole snapshot of changes that are none of ours, without a marker.
    const context =
      start <= seqno && seqno <= end
        ? stream.context
        : stream.snapshotBegan({ ...stream.context.snapshot, start: seqno, end: seqno })
    const objection = stream.objection(seqno)
    if (objection !== undefined) return objection
    stream.advance(seqno, context)
    this.#push(frame, { type: 'seqno-advanced', vbid, seqno }, context, seqno)
    return undefined
  }

  end(frame: Frame, stream: VbucketStream): string | undefined {
    const message = decodeStreamEnd(frame)
    if (!message) return 'malformed'
    const { vbid } = message
    const { context } = stream
    const { reopens, reason } = this.#events.ended(stream, message.reason)
    this.#push(frame, { type: 'stream-end', vbid, reason, reopens }, context, -1)
    return undefined
  }

  #push(frame: Frame, event: DcpEvent, context: EventContext, seqno: number): void {
    const { stream } = context
    if (this.#arrivals && seqno >= 0) this.#arrivals.taken(seqno, stream)
    const moves = this.#arrivals ? -1 : seqno
    this.#queue.push({ event, context, seqno: moves, bytes: windowBytes(frame) })
    this.#events.queued()
  }
}

type Reader = (receiver: DcpReceiver, frame: Frame, stream: VbucketStream) => string | undefined

/** What is not listed here was not negotiated, or is of no concern to a consumer of changes. */
const readers: Readonly<Record<number, Reader | undefined>> = {
  [Opcode.dcpMutation]: (receiver, frame, stream) => receiver.change(frame, stream),
  [Opcode.dcpDeletion]: (receiver, frame, stream) => receiver.change(frame, stream),
  [Opcode.dcpExpiration]: (receiver, frame, stream) => receiver.change(frame, stream),
  [Opcode.dcpSystemEvent]: (receiver, frame, stream) => receiver.systemEvent(frame, stream),
  [Opcode.dcpSnapshotMarker]: (receiver, frame, stream) => receiver.marker(frame, stream),
  [Opcode.dcpSeqnoAdvanced]: (receiver, frame, stream) => receiver.advanced(frame, stream),
  [Opcode.dcpStreamEnd]: (receiver, frame, stream) => receiver.end(frame, stream),
}
