import type { Socket } from 'node:net'
import { FrameReader } from '../../protocol/frame-reader.ts'
import { RequestFraming } from '../../protocol/framing.ts'
import { Magic } from '../../protocol/magic.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeResponse } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame, FrameError } from '../../protocol/frame.ts'
import type { Timer } from '../clock.ts'
import { Privilege, type Command } from '../commands/command.ts'
import { Features } from '../commands/features.ts'
import { commands } from '../commands/table.ts'
import type { Node } from '../commands/node.ts'
import type { Output, Pending, Session } from '../commands/session.ts'
import type { Producer } from '../dcp/producer.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import type { Documents } from '../vbucket/documents.ts'
import type { ServerContext } from './context.ts'
import { SocketDcpOutput } from './dcp-output.ts'
import { slabBytes } from './output-slab.ts'
import { PendingAnswer } from './pending-answer.ts'
import { ResponseWriter } from './response-writer.ts'
import { adoptSocket } from './socket-adoption.ts'

/** Why a connection is not read from; several can hold at once. */
const Pause = {
  /** The client leaves too much unread. */
  output: 1,
  /** A command has to wait for answers in front of it. */
  order: 2,
  /** The disk cannot keep up with what this client writes. */
  pressure: 4,
  /** It is being closed: nothing more is read. */
  ending: 8,
  /** The server stops: what has been read is answered first. */
  settling: 16,
} as const

/** Answers that may be waited for before no further requests are run. */
const slotsMax = 4096
/** How long a client may take to receive its last answers. */
const lingerMs = 5_000

/**
 * One client: reads its requests, runs them in order, and stops reading whenever that is what
 * bounds memory. `Session` is the side of it that commands see.
 */
export class Connection implements Session {
  readonly id: number
  readonly node: Node
  readonly remote: string
  readonly features = new Features()
  readonly requirements = new RequestFraming()
  /** Whether `requirements` holds anything. */
  hasRequirements = false
  readonly user = ''
  readonly privileges: number = Privilege.all
  readonly dcpOutput: SocketDcpOutput
  agent = ''
  errorContext = ''
  knownMapRevision = 0
  producer: Producer | undefined
  bucket: Bucket | undefined
  hasSelectedBucket = false
  documents!: Documents

  readonly #context: ServerContext
  readonly #socket: Socket
  readonly #reader: FrameReader
  readonly #writer: ResponseWriter
  readonly #onClosed: (connection: Connection) => void
  #pausedBy = 0
  /** A request that has been read and waits for the answers in front of it. */
  #held: Frame | undefined
  #resuming: NodeJS.Immediate | undefined
  #lingering: Timer | undefined
  #quitCleanly = false
  #closeReason = ''
  #onSettled: (() => void) | undefined

  constructor(
    context: ServerContext,
    id: number,
    accepted: Socket,
    onClosed: (connection: Connection) => void,
  ) {
    this.#context = context
    this.id = id
    this.node = context.node
    this.remote = `${accepted.remoteAddress}:${accepted.remotePort}`
    this.#onClosed = onClosed
    this.#reader = new FrameReader(context.frameLimits)
    const into = { buffer: context.readBuffer, callback: (length: number) => this.#read(length) }
    this.#socket = adoptSocket(accepted, into)
    this.#writer = new ResponseWriter({
      id,
      socket: this.#socket,
      budget: context.budget,
      counters: context.counters,
      onProgress: () => this.#progressed(),
      onEvict: reason => this.abort(reason),
    })
    const end = (reason: string) => this.endAfterAnswers(reason)
    this.dcpOutput = new SocketDcpOutput(this.#writer, context.slab, end)
    this.#enterBucket(context.node.buckets.get('default'))
    this.#socket.setNoDelay(true)
    this.#socket.setKeepAlive(true, 60_000)
    this.#socket.on('end', () => this.#inputEnded())
    this.#socket.on('error', error => this.#failed(error))
    this.#socket.on('close', () => this.#cleanUp())
  }

  get clock() {
    return this.node.clock
  }
  get log() {
    return this.node.log
  }
  get output(): Output {
    return this.#context.slab
  }
  /** Whether everything that was run has been answered. */
  get isAnswered(): boolean {
    return this.#writer.isInOrder
  }
  get unreadBytes(): number {
    return this.#writer.unreadBytes
  }

  selectBucket(bucket: Bucket | undefined): void {
    this.#enterBucket(bucket)
    this.hasSelectedBucket = bucket !== undefined
  }

  openPending(frame: Frame, command: Command): Pending {
    this.#context.slab.flush()
    return new PendingAnswer(this, this.#writer, this.#context.counters, frame, command)
  }

  endAfterAnswers(reason: string): void {
    if (this.#closeReason === '') this.#closeReason = reason
    this.#pausedBy |= Pause.ending
    // In the middle of a batch its answers are still to be encoded; its end comes back here.
    if (this.#context.slab.target !== this.#writer) this.#endIfAnswered()
  }

  quit(): void {
    this.#quitCleanly = true
    this.endAfterAnswers('quit')
  }

  abort(reason: string): void {
    if (this.#closeReason === '') this.#closeReason = reason
    this.#socket.destroy()
  }

  /** The bucket has been deleted. */
  leaveBucket(bucket: Bucket): void {
    if (this.bucket !== bucket) return
    this.selectBucket(undefined)
    this.#unpause(Pause.pressure)
  }

  /** Reads nothing more; resolves once what has been read is answered, or the client is gone. */
  settle(reason: string): Promise<void> {
    if (this.#closeReason === '') this.#closeReason = reason
    this.#pausedBy |= Pause.settling
    if (this.#writer.isInOrder) return Promise.resolve()
    return new Promise(resolve => (this.#onSettled = resolve))
  }

  /** The bucket's disk has caught up. */
  relieve(): void {
    this.#unpause(Pause.pressure)
  }

  /** Runs what has come in; false stops reading from the socket. */
  #read(length: number): boolean {
    const { readBuffer, counters, slab } = this.#context
    counters.bytesRead += length
    if (this.#pausedBy & Pause.ending) return true
    if (this.#pausedBy & Pause.settling) return false
    const chunk = length === readBuffer.length ? readBuffer : readBuffer.subarray(0, length)
    slab.open(this.#writer)
    const error = this.#reader.read(chunk, this.#visit)
    slab.close()
    this.#afterBatch(error)
    return this.#pausedBy === 0
  }

  #afterBatch(error: FrameError | undefined): void {
    if (error !== undefined) this.#refuse(error)
    if (this.#pausedBy & Pause.ending) this.#endIfAnswered()
  }

  #visit = (frame: Frame): boolean => {
    if (this.#pausedBy & Pause.ending) return false
    if (frame.magic !== Magic.request && frame.magic !== Magic.altRequest) {
      this.#takeResponse(frame)
      return this.#pausedBy === 0
    }
    const { dispatcher } = this.#context
    const command = commands[frame.opcode]
    const framingError = dispatcher.readFraming(this, frame)
    const isBarrier = command?.barrier === true || this.requirements.barrier
    if (isBarrier && !this.#writer.isInOrder) {
      this.#held = frame.copy()
      this.#pausedBy |= Pause.order
      return false
    }
    dispatcher.run(this, frame, command, framingError)
    if (isBarrier && !this.#writer.isInOrder) this.#pausedBy |= Pause.order
    this.#pauseIfTooMuch(command)
    return this.#pausedBy === 0
  }

  #pauseIfTooMuch(command: Command | undefined): void {
    const writer = this.#writer
    // A large answer is handed over at once, so that it counts before the next one is made.
    if (this.#context.slab.buffer.length > slabBytes) this.#context.slab.flush()
    if (writer.chargedBytes > this.#allowanceBytes()) this.#pausedBy |= Pause.output
    if (writer.slots > slotsMax) this.#pausedBy |= Pause.order
    if (command === undefined || !command.writes || this.bucket === undefined) return
    if (this.bucket.pressure === 'none') return
    this.#pausedBy |= Pause.pressure
    this.#context.pressure.wait(this.bucket, this)
  }

  #allowanceBytes(): number {
    // Streams bound their output themselves, and have to hear their client's acknowledgements.
    const { budget } = this.#context
    return this.producer === undefined ? budget.allowanceBytes : budget.connectionBytesMax
  }

  #progressed(): void {
    const writer = this.#writer
    let over = 0
    if (writer.unreadBytes <= this.#allowanceBytes() / 2) over |= Pause.output
    if (writer.isInOrder || (this.#held === undefined && writer.slots < slotsMax / 2)) {
      over |= Pause.order
    }
    this.#unpause(over)
    if (writer.isInOrder) this.#onSettled?.()
    if (this.#pausedBy & Pause.ending) this.#endIfAnswered()
    this.dcpOutput.onDrain?.()
  }

  #unpause(reasons: number): void {
    if ((this.#pausedBy & reasons) === 0) return
    this.#pausedBy &= ~reasons
    // Never at once: this may be called from within another connection's request.
    if (this.#pausedBy === 0) this.#resuming ??= setImmediate(() => this.#resume())
  }

  #resume(): void {
    this.#resuming = undefined
    if (this.#pausedBy !== 0 || this.#socket.destroyed) return
    const { slab } = this.#context
    slab.open(this.#writer)
    const held = this.#held
    this.#held = undefined
    if (held !== undefined) this.#visit(held)
    let error: FrameError | undefined
    if (this.#pausedBy === 0) error = this.#reader.resume(this.#visit)
    slab.close()
    this.#afterBatch(error)
    if (this.#pausedBy === 0) this.#socket.resume()
  }

  /** Answers to what this server asked: only streams ask. */
  #takeResponse(frame: Frame): void {
    if (frame.magic === Magic.serverRequest) this.endAfterAnswers('a request only servers make')
    else if (frame.opcode === Opcode.dcpNoop) this.producer?.noopAnswered(frame.opaque)
  }

  /** What came in cannot be cut into frames any more. */
  #refuse(error: FrameError): void {
    this.#context.counters.framesRefused++
    this.log.warn({ connection: this.id, remote: this.remote, ...error }, 'closing: no valid frame')
    if (error.kind === 'too-large') {
      const { opcode, opaque } = error
      this.#writer.deliver(encodeResponse({ opcode, opaque, status: Status.tooLarge }), true)
    }
    this.endAfterAnswers(`frame refused: ${error.kind}`)
  }

  #endIfAnswered(): void {
    if (!this.#writer.isInOrder || this.#socket.writableEnded) return
    // Streams would go on writing to a socket that takes nothing more.
    this.producer?.disconnected(this.#quitCleanly)
    this.#socket.end()
    this.#lingering = this.clock.after(lingerMs, () => this.#socket.destroy())
    // What the client still sends is thrown away, so that its end is noticed.
    this.#socket.resume()
  }

  #inputEnded(): void {
    this.endAfterAnswers('closed by the client')
  }

  #failed(error: Error): void {
    this.log.debug({ connection: this.id, err: error }, 'socket failed')
    if (this.#closeReason === '') this.#closeReason = error.message
  }

  #enterBucket(bucket: Bucket | undefined): void {
    if (this.bucket !== undefined) this.#context.pressure.forget(this.bucket, this)
    this.bucket = bucket
    if (bucket === undefined) return
    this.documents = bucket.documents
    this.#context.watchBucket(bucket)
  }

  #cleanUp(): void {
    clearImmediate(this.#resuming)
    this.#lingering?.cancel()
    this.#enterBucket(undefined)
    this.#held = undefined
    this.#onSettled?.()
    this.#writer.release()
    this.producer?.disconnected(this.#quitCleanly)
    this.producer = undefined
    this.log.debug(
      { connection: this.id, remote: this.remote, reason: this.#closeReason },
      'connection closed',
    )
    this.#onClosed(this)
  }
}
