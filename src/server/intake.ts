import { FrameReader } from '../../protocol/frame-reader.ts'
import { Magic } from '../../protocol/magic.ts'
import type { Frame, FrameError } from '../../protocol/frame.ts'
import type { Command } from '../commands/command.ts'
import { commands } from '../commands/table.ts'
import type { ChangeLog } from '../vbucket/change-log.ts'
import type { Connection } from './connection.ts'
import type { ServerContext } from './context.ts'
import { lookAhead } from './look-ahead.ts'
import { slabBytes } from './output-slab.ts'
import type { Debtor } from './memory-budget.ts'
import type { ResponseWriter } from './response-writer.ts'
import type { TurnReader } from './turn.ts'
import type { Writer } from './write-pressure.ts'

/** Why a connection is not read from; several can hold at once. */
export const Pause = {
  /** The client leaves too much unread. */
  output: 1,
  /** A command has to wait for answers in front of it. */
  order: 2,
  /** The disk cannot keep up with what this client writes. */
  pressure: 4,
  /** It is being closed: nothing more is read. */
  ending: 8,
  /** The server stops: what has been read is answered, nothing more is. */
  settling: 16,
  /** Others get their turn first. */
  turn: 32,
} as const

/** Answers that may be waited for before no further requests are run. */
const slotsMax = 4096
/**
 * Slow requests of one client that are run without a turn for others: who follows a thousand
 * vbuckets asks for all of them at once. More where nobody is known to wait for one.
 */
const slowRequestsMax = { whileServing: 2, alone: 16 } as const
const chargedBytesMin = 16 * 1024
/** What somebody may send who has not logged in: more than any login is. */
const strangerFrameBytesMax = 16 * 1024

export interface IntakeOptions {
  readonly context: ServerContext
  readonly connection: Connection
  readonly writer: ResponseWriter
  /** Reads nothing more from the socket until `onResume`. */
  readonly onPause: () => void
  /** Reads from the socket again. */
  readonly onResume: () => void
  /** A batch of requests has been run. `error`: what comes next is no frame. */
  readonly onBatch: (error: FrameError | undefined) => void
  /** Close the connection: it sends too much in part. */
  readonly onEvict: (reason: string) => void
}

/**
 * Runs what comes in on one connection, in order, and stops reading whenever that is what bounds
 * memory. What was read already is kept by the frame reader, and run when the reason is over.
 */
export class Intake implements Writer, Debtor, TurnReader {
  readonly #context: ServerContext
  readonly #connection: Connection
  readonly #writer: ResponseWriter
  readonly #reader: FrameReader
  readonly #options: IntakeOptions
  #pausedBy = 0
  /** A request that has been read and waits for the answers in front of it. */
  #held: Frame | undefined
  #resuming: NodeJS.Immediate | undefined
  #closed = false
  #chargedBytes = 0
  #slowRequests = 0
  /** The last batch of requests had some about documents. */
  #areDocuments = false
  #reads = 0
  /** Of the last look at whether half a request is waited for. */
  #readsSeen = 0
  #halfSinceMs = 0

  constructor(options: IntakeOptions) {
    this.#options = options
    this.#context = options.context
    this.#connection = options.connection
    this.#writer = options.writer
    this.#reader = new FrameReader(options.context.frameLimits)
  }

  get id(): number {
    return this.#connection.id
  }
  get chargedBytes(): number {
    return this.#chargedBytes
  }
  get isEnding(): boolean {
    return (this.#pausedBy & Pause.ending) !== 0
  }

  get changes(): ChangeLog | undefined {
    return this.#connection.bucket?.changes
  }
  get hasCollections(): boolean {
    return this.#connection.features.collections
  }

  /** Takes what has been read into the shared buffer; false stops reading from the socket. */
  read(length: number): boolean {
    const { readBuffer, counters, turn } = this.#context
    counters.bytesRead += length
    this.#reads++
    if (this.isEnding) return true
    if (this.#pausedBy & Pause.settling) return false
    const { features } = this.#connection
    if (features.tracing) this.#connection.receivedMs = this.#connection.clock.monotonicMs()
    if (this.#pausedBy === 0 && turn.keep(this, readBuffer, length)) return true
    turn.run()
    const { bucket } = this.#connection
    if (bucket !== undefined && this.#reader.pendingBytes === 0) {
      lookAhead(readBuffer, length, bucket.changes, features.collections)
    }
    this.#run(length === readBuffer.length ? readBuffer : readBuffer.subarray(0, length), false)
    return this.#pausedBy === 0
  }

  /** Runs what the turn has kept of this connection. */
  runKept(chunk: Buffer): void {
    if (this.isEnding || this.#closed) return
    this.#run(chunk, true)
    // One that ends is read on, so that the end of its client is noticed.
    if (this.#pausedBy !== 0 && !this.isEnding) this.#options.onPause()
  }

  #run(chunk: Buffer, isFlushed: boolean): void {
    const { slab } = this.#context
    // Told before they are served, if they are expected to be documents' as they were last time.
    const areExpected = this.#areDocuments
    this.#areDocuments = false
    if (areExpected) this.#connection.bucket?.snapshots.othersServed()
    slab.open(this.#writer)
    const error = this.#reader.read(chunk, this.#visit)
    slab.close(isFlushed)
    if (this.#areDocuments && !areExpected) this.#connection.bucket?.snapshots.othersServed()
    this.#charge(this.#reader.pendingBytes)
    this.#options.onBatch(error)
  }

  /** Takes large requests, or only as much as it takes to log in. */
  trust(isTrusted: boolean): void {
    const { maxBodyBytes } = this.#context.frameLimits
    this.#reader.maxBodyBytes = isTrusted
      ? maxBodyBytes
      : Math.min(maxBodyBytes, strangerFrameBytesMax)
  }

  /** For how long, as far as the looks at it tell, a client has left a request half sent. */
  halfSentMs(nowMs: number): number {
    const isHalf = this.#reader.pendingBytes > 0 && this.#pausedBy === 0
    if (!isHalf || this.#reads !== this.#readsSeen) {
      this.#readsSeen = this.#reads
      this.#halfSinceMs = nowMs
    }
    return nowMs - this.#halfSinceMs
  }

  /** For good: both reasons there are to do so end with the connection. */
  stop(reason: typeof Pause.ending | typeof Pause.settling): void {
    this.#context.turn.run()
    this.#pausedBy |= reason
  }

  /** The client has taken answers, or one that others waited for is there. */
  progressed(): void {
    const writer = this.#writer
    let over = 0
    if (writer.unreadBytes <= this.#allowanceBytes() / 2) over |= Pause.output
    if (writer.isInOrder || (this.#held === undefined && writer.slots < slotsMax / 2)) {
      over |= Pause.order
    }
    this.#unpause(over)
  }

  /** The bucket's disk has caught up or takes nothing any more, or the bucket is gone. */
  relieve(): void {
    this.#unpause(Pause.pressure)
  }

  close(): void {
    this.#closed = true
    this.#held = undefined
    clearImmediate(this.#resuming)
    this.#charge(0)
  }

  evict(reason: string): void {
    this.#charge(0)
    this.#options.onEvict(reason)
  }

  /** Little is not worth the count: nearly all connections have some of the time. */
  #charge(pendingBytes: number): void {
    const before = this.#chargedBytes
    const bytes = pendingBytes < chargedBytesMin || this.#closed ? 0 : pendingBytes
    if (bytes === before) return
    this.#chargedBytes = bytes
    this.#context.intakeBudget.charge(this, before, bytes)
  }

  #visit = (frame: Frame): boolean => {
    if (this.isEnding) return false
    if (frame.magic !== Magic.request && frame.magic !== Magic.altRequest) {
      this.#connection.takeResponse(frame)
      return this.#pausedBy === 0
    }
    const { dispatcher } = this.#context
    const connection = this.#connection
    const command = commands[frame.opcode]
    const framingError = dispatcher.readFraming(connection, frame)
    const isBarrier =
      command?.barrier === true ||
      connection.requirements.barrier ||
      (connection.features.unordered && command?.reorders !== true)
    if (isBarrier && !this.#writer.isInOrder) {
      this.#held = frame.copy()
      this.#pausedBy |= Pause.order
      return false
    }
    if (command?.hasDocumentKey === true) this.#areDocuments = true
    dispatcher.run(connection, frame, command, framingError)
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
    if (command?.slow) this.#countSlow()
    const { bucket } = this.#connection
    if (command === undefined || !command.writes || bucket === undefined) return
    if (this.#context.pressure.wait(bucket, this)) this.#pausedBy |= Pause.pressure
  }

  #countSlow(): void {
    const areOthersServed = this.#connection.bucket?.snapshots.areOthersServed ?? true
    const most = areOthersServed ? slowRequestsMax.whileServing : slowRequestsMax.alone
    if (++this.#slowRequests < most) return
    this.#slowRequests = 0
    this.#pausedBy |= Pause.turn
    setImmediate(() => this.#unpause(Pause.turn))
  }

  #allowanceBytes(): number {
    // Streams bound their output themselves, and have to hear their client's acknowledgements.
    const { budget } = this.#context
    const isStream = this.#connection.producer !== undefined
    return isStream ? budget.connectionBytesMax : budget.allowanceBytes
  }

  #unpause(reasons: number): void {
    if ((this.#pausedBy & reasons) === 0) return
    this.#pausedBy &= ~reasons
    // Never at once: this may be called from within another connection's request.
    if (this.#pausedBy === 0) this.#resuming ??= setImmediate(() => this.#resume())
  }

  #resume(): void {
    this.#resuming = undefined
    if (this.#pausedBy !== 0 || this.#closed) return
    const { slab, turn } = this.#context
    turn.run()
    slab.open(this.#writer)
    const held = this.#held
    this.#held = undefined
    if (held !== undefined) this.#visit(held)
    let error: FrameError | undefined
    if (this.#pausedBy === 0) error = this.#reader.resume(this.#visit)
    slab.close()
    this.#charge(this.#reader.pendingBytes)
    this.#options.onBatch(error)
    if (this.#pausedBy === 0) this.#options.onResume()
  }
}
