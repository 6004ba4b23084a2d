/**
 * A DCP client that keeps no document, only where it stands in each vbucket: for the cases that
 * ask about streams. It sends all its requests at once, so that what is timed is the server.
 */
import {
  DcpControlKey,
  decodeFailoverLog,
  decodeSnapshotMarker,
  type SnapshotMarker,
} from '../protocol/dcp/index.ts'
import type { Frame } from '../protocol/frame.ts'
import { headerLength } from '../protocol/header.ts'
import { Opcode } from '../protocol/opcode.ts'
import { Status } from '../protocol/status.ts'
import { Connection } from '../src/client/index.ts'
import {
  acknowledgement,
  controlRequest,
  helloRequest,
  openRequest,
  streamRequest,
  type Position,
} from './dcp-requests.ts'

export interface StreamsWanted {
  readonly port: number
  readonly name: string
  /** What it has of the vbuckets that it wants. */
  readonly from: ReadonlyMap<number, Position>
  /** As in `StreamRequestFlag`. */
  readonly flags?: number
  /** The value of the control `backfill_resume`, if it is to be negotiated. */
  readonly resume?: string
  readonly windowBytes: number
  /** Without, what comes is bounded by the window. */
  readonly acknowledges: boolean
  /** What comes behind so many is lost on the way, as when a link breaks there. */
  readonly documentsMax?: number
}

const answerTimeoutMs = 120_000

export class DcpClient {
  readonly positions: Map<number, Position>
  /** Documents so far. */
  documents = 0
  /** When the first one came, by `performance.now()`. */
  firstDocumentMs = 0
  /** Streams that have ended. */
  ended = 0
  readonly #wanted: StreamsWanted
  readonly #markers = new Map<number, SnapshotMarker>()
  readonly #histories = new Map<number, bigint>()
  #connection: Connection | undefined
  #unacknowledged = 0
  #changed = () => {}

  constructor(wanted: StreamsWanted) {
    this.#wanted = wanted
    this.positions = new Map(wanted.from)
  }

  /** Connects and asks for everything; resolves when all streams are open. */
  async open(): Promise<void> {
    const { port, name, from, flags = 0, resume, windowBytes } = this.#wanted
    const onRequest = (frame: Frame) => this.#take(frame)
    const connection = await Connection.open({ port }, { onRequest })
    this.#connection = connection
    const answers = [
      expectSuccess(connection, helloRequest()),
      expectSuccess(connection, openRequest(name)),
      expectSuccess(connection, windowRequest(windowBytes)),
    ]
    if (resume !== undefined) {
      answers.push(expectSuccess(connection, controlRequest(DcpControlKey.backfillResume, resume)))
    }
    for (const [vbid, position] of from) {
      const request = streamRequest(vbid, flags, position)
      answers.push(expectSuccess(connection, request, answer => this.#opened(vbid, answer)))
    }
    await Promise.all(answers)
  }

  /** Until `isThere` holds, which is looked at whenever something has come. */
  async until(isThere: (client: DcpClient) => boolean): Promise<void> {
    if (isThere(this)) return
    await new Promise<void>(resolve => {
      this.#changed = () => {
        if (isThere(this)) resolve()
      }
    })
    this.#changed = () => {}
  }

  /** Goes away without a word, as when a link breaks. */
  cut(): void {
    this.#connection?.destroy()
  }

  /** Says goodbye: nothing is kept for it. */
  async leave(): Promise<void> {
    await this.#connection?.close()
  }

  #opened(vbid: number, answer: Frame): void {
    this.#histories.set(vbid, decodeFailoverLog(answer)![0]!.vbuuid)
  }

  #take(frame: Frame): void {
    const { documentsMax = Infinity } = this.#wanted
    if (this.documents >= documentsMax) return
    if (frame.opcode === Opcode.dcpSnapshotMarker) {
      this.#markers.set(frame.vbid, decodeSnapshotMarker(frame)!)
    } else if (frame.opcode === Opcode.dcpMutation) {
      this.#moveTo(frame)
    } else if (frame.opcode === Opcode.dcpStreamEnd) {
      this.ended++
    }
    this.#acknowledge(headerLength + frame.bodyLength)
    this.#changed()
  }

  #moveTo(mutation: Frame): void {
    if (this.documents++ === 0) this.firstDocumentMs = performance.now()
    const { startSeqno, endSeqno } = this.#markers.get(mutation.vbid)!
    this.positions.set(mutation.vbid, {
      vbuuid: this.#histories.get(mutation.vbid)!,
      seqno: mutation.extrasSeqno(0),
      snapshotStartSeqno: startSeqno,
      snapshotEndSeqno: endSeqno,
    })
  }

  #acknowledge(bytes: number): void {
    this.#unacknowledged += bytes
    const { acknowledges, windowBytes } = this.#wanted
    if (!acknowledges || this.#unacknowledged < windowBytes / 4) return
    this.#connection!.write(acknowledgement(this.#unacknowledged))
    this.#unacknowledged = 0
  }
}

export function windowRequest(bytes: number): Buffer {
  return controlRequest(DcpControlKey.connectionBufferSize, String(bytes))
}

/** `look` sees the answer before anything that comes behind it. */
export async function expectSuccess(
  connection: Connection,
  request: Buffer,
  look: (answer: Frame) => void = () => {},
): Promise<void> {
  const options = { timeoutMs: answerTimeoutMs }
  await connection.send(
    request,
    answer => {
      const { opcode, status } = answer
      if (status !== Status.success) throw new Error(`opcode ${opcode}: status ${status}`)
      look(answer)
    },
    options,
  )
}
