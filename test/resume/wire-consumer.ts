import { writeUint32, seqnoInfinity } from '../../protocol/bytes.ts'
import {
  bufferAcknowledgementLength,
  dcpOpenExtrasLength,
  DcpOpenFlag,
  decodeFailoverLog,
  decodeRollbackSeqno,
  decodeSnapshotMarker,
  decodeStreamEnd,
  encodeBufferAcknowledgement,
  encodeMessage,
  encodeStreamRequest,
  encodeStreamRequestValue,
  streamEndReasonName,
  streamRequestLength,
} from '../../protocol/dcp/index.ts'
import type { Frame } from '../../protocol/frame.ts'
import { decodeRequestFraming, RequestFraming } from '../../protocol/framing.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { logIn, type Credentials } from '../../src/client/login.ts'
import { Connection } from '../../src/client/index.ts'
import { until } from './until.ts'

/** Where a client says that it is. */
export interface Position {
  uuid: bigint
  seqno: number
  snapshotStart: number
  snapshotEnd: number
}

export const beginning: Position = { uuid: 0n, seqno: 0, snapshotStart: 0, snapshotEnd: 0 }

/** One stream, as far as its frames have been received. */
export interface Received {
  position: Position
  /** Bounds of every marker, in the order of arrival. */
  markers: (readonly [start: number, end: number])[]
  seqnos: number[]
  deletions: number
  /** Why it ended. */
  ended: string | undefined
}

export interface WireOptions {
  port: number
  name: string
  bucket?: string
  credentials?: Credentials
  /** DCP_CONTROL settings, in this order. */
  controls?: Record<string, string>
  /** Changes after which it stops reading: what comes behind is lost with the connection. */
  readMax?: number
}

/**
 * A stream client without any comfort: it says where it is in so many words, reads as much as it
 * is told to, acknowledges when it is told to, and goes away in whatever manner.
 */
export class WireConsumer {
  readonly #streams = new Map<string, Received>()
  /** Bytes of stream frames received. */
  bytes = 0
  changes = 0
  isClosed = false
  /** What no stream may do. */
  readonly problems: string[] = []
  readMax: number
  readonly #connection: Connection

  static async open(options: WireOptions): Promise<WireConsumer> {
    const { port, name, bucket = 'default', controls = { backfill_resume: 'true' } } = options
    const consumer = new WireConsumer(port, options.readMax ?? Infinity)
    await consumer.#connection.connected()
    if (options.credentials) await logIn(consumer.#connection, options.credentials)
    await consumer.#ask({ opcode: Opcode.selectBucket, key: bucket })
    const extras = Buffer.alloc(dcpOpenExtrasLength)
    writeUint32(extras, 4, DcpOpenFlag.producer)
    await consumer.#ask({ opcode: Opcode.dcpOpen, key: name, extras })
    for (const [key, value] of Object.entries(controls)) {
      await consumer.#ask({ opcode: Opcode.dcpControl, key, value })
    }
    return consumer
  }

  private constructor(port: number, readMax: number) {
    this.#connection = new Connection(
      { port },
      { onRequest: frame => this.#receive(frame), onClose: () => (this.isClosed = true) },
    )
    this.readMax = readMax
  }

  /** `streamId` 0: streams have none. */
  of(vbid: number, streamId = 0): Received {
    return this.#streams.get(slotOf(vbid, streamId))!
  }

  /** Asks to go on at `position`; resolves with `accepted` or where the server wants it to be. */
  async stream(
    vbid: number,
    position: Position = beginning,
    streamId = 0,
  ): Promise<'accepted' | number> {
    const received: Received = {
      position: { ...position },
      markers: [],
      seqnos: [],
      deletions: 0,
      ended: undefined,
    }
    this.#streams.set(slotOf(vbid, streamId), received)
    const fields = {
      opaque: 0,
      vbid,
      flags: 0,
      startSeqno: position.seqno,
      endSeqno: seqnoInfinity,
      vbuuid: position.uuid,
      snapshotStartSeqno: position.snapshotStart,
      snapshotEndSeqno: position.snapshotEnd,
      value: encodeStreamRequestValue(streamId === 0 ? {} : { streamId }),
    }
    const request = encodeMessage(encodeStreamRequest, streamRequestLength(fields), fields)
    return await this.#connection.send(request, frame => {
      if (frame.status === Status.rollback) return decodeRollbackSeqno(frame)!
      if (frame.status !== Status.success) throw new Error(`stream request: ${frame.status}`)
      received.position.uuid = decodeFailoverLog(frame)![0]!.vbuuid
      return 'accepted'
    })
  }

  /** Resolves once so many changes have been received in all. */
  async received(changes: number): Promise<void> {
    await until(
      () => this.changes >= changes,
      () => `${changes} changes, ${this.changes} by now`,
    )
  }

  acknowledge(bytes: number): void {
    const fields = { opaque: 0, vbid: 0, bytes }
    this.#connection.write(
      encodeMessage(encodeBufferAcknowledgement, bufferAcknowledgementLength, fields),
    )
  }

  async closeStream(vbid: number): Promise<void> {
    await this.#ask({ opcode: Opcode.dcpCloseStream, vbid })
  }

  /** The link is gone, without a word. */
  drop(): void {
    this.#connection.destroy()
  }

  async quit(): Promise<void> {
    this.#connection.resume()
    await this.#connection.close()
  }

  async #ask(request: { opcode: number; key?: string; value?: string; vbid?: number } & Extras) {
    const { status } = await this.#connection.request(request)
    if (status !== Status.success) throw new Error(`${request.key ?? request.opcode}: ${status}`)
  }

  #receive(frame: Frame): void {
    const framing = new RequestFraming()
    if (decodeRequestFraming(frame, framing) !== undefined) this.problems.push('malformed framing')
    const stream = this.#streams.get(slotOf(frame.vbid, framing.streamId))
    if (stream === undefined || this.changes >= this.readMax) return
    this.bytes += frame.end - frame.start
    const { position } = stream
    if (frame.opcode === Opcode.dcpSnapshotMarker) {
      const { startSeqno, endSeqno } = decodeSnapshotMarker(frame)!
      stream.markers.push([startSeqno, endSeqno])
    } else if (frame.opcode === Opcode.dcpStreamEnd) {
      stream.ended = streamEndReasonName(decodeStreamEnd(frame)!.reason)
    } else if (frame.opcode === Opcode.dcpSeqnoAdvanced) {
      this.#advance(stream, frame.extrasSeqno(0))
    } else {
      if (frame.opcode !== Opcode.dcpMutation) stream.deletions++
      const seqno = frame.extrasSeqno(0)
      if (seqno <= position.seqno) this.problems.push(`seqno ${seqno} after ${position.seqno}`)
      stream.seqnos.push(seqno)
      this.#advance(stream, seqno)
      if (++this.changes >= this.readMax) this.#connection.pause()
    }
  }

  /** A marker alone moves nothing: the position is in its snapshot with the first change of it. */
  #advance({ position, markers }: Received, seqno: number): void {
    position.seqno = seqno
    const [start, end] = markers.at(-1)!
    position.snapshotStart = start
    position.snapshotEnd = end
  }
}

interface Extras {
  extras?: Buffer
}

function slotOf(vbid: number, streamId: number): string {
  return `${vbid} #${streamId}`
}
