import { connect, type Socket } from 'node:net'
import { once } from 'node:events'
import { FrameReader } from '../../protocol/frame-reader.ts'
import type { Frame } from '../../protocol/frame.ts'
import { isMagic } from '../../protocol/magic.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeRequest } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import { openingRequests, validRequest, type Position } from './corpus.ts'
import { mutate } from './mutate.ts'
import { Seeded } from './seeded.ts'

/** What all lanes have done, for the report. */
export class Tally {
  frames = 0
  connections = 0
  answers = 0
  /** Connections that the server ended. */
  closed = 0
  /** Waits that a request has a right to cause, given up by the lane. */
  abandoned = 0
}

export interface LaneOptions {
  readonly port: number
  readonly seed: number
  readonly tally: Tally
  /** How long the server may take for anything. */
  readonly deadlineMs: number
}

interface Batch {
  readonly bytes: Buffer
  readonly frames: number
  /** Whether the server can still tell where the next frame begins. */
  readonly inStep: boolean
  /** Whether a request waits for something that may never be, as it is allowed to. */
  readonly mayWait: boolean
}

const headerLength = 24
const skipBodyBytes = 21 * 2 ** 20 * 16
const markerOpaque = 0x6675_7a7a
const marker = encodeRequest({ opcode: Opcode.noop, opaque: markerOpaque })
const framesPerBatch = 100
const batchesPerConnection = 12
const paddedBytesMax = 64 * 1024
const patienceMs = 300
const recentBatches = 4

/** The daemon has not done what it must, whatever it is sent. */
export class FuzzFailure extends Error {}

/**
 * Sends mutated requests over one connection after the other. After each batch it asks for a
 * NOOP, which has to be answered if the server has not closed the connection: a request that
 * leaves a connection stuck shows, as do bytes that are no frames.
 */
export class Lane {
  readonly #options: LaneOptions
  readonly #random: Seeded
  readonly #recent: Buffer[] = []
  /** Of streams, as the last connection left them. */
  readonly #positions = new Map<number, Position>()

  constructor(options: LaneOptions) {
    this.#options = options
    this.#random = new Seeded(options.seed)
  }

  /** What was sent last, to be looked at after a failure. */
  get recent(): readonly Buffer[] {
    return this.#recent
  }

  async run(isOver: () => boolean): Promise<void> {
    const { port, tally, deadlineMs } = this.#options
    while (!isOver()) {
      const link = await Link.open(port, deadlineMs, this.#positions)
      tally.connections++
      const opening = Buffer.concat(openingRequests(this.#random, this.#positions))
      this.#positions.clear()
      let batch: Batch = { bytes: opening, frames: 0, inStep: true, mayWait: false }
      let mayWait = false
      for (let count = 0; count < batchesPerConnection; count++) {
        mayWait ||= batch.mayWait
        this.#remember(batch.bytes)
        tally.frames += batch.frames
        const isOpen = await this.#send(link, batch, mayWait)
        if (!isOpen || isOver()) break
        batch = makeBatch(this.#random)
      }
      tally.answers += link.answers
      link.destroy()
    }
  }

  /** Whether the connection can be used further. */
  async #send(link: Link, batch: Batch, mayWait: boolean): Promise<boolean> {
    const { tally } = this.#options
    link.write(batch.bytes, this.#random)
    const outcome = batch.inStep ? await link.settle(mayWait) : await link.end(mayWait)
    if (outcome === 'closed') tally.closed++
    if (outcome === 'waiting') tally.abandoned++
    return outcome === 'answered'
  }

  #remember(bytes: Buffer): void {
    this.#recent.push(bytes)
    if (this.#recent.length > recentBatches) this.#recent.shift()
  }
}

export function makeBatch(random: Seeded): Batch {
  const pieces: Buffer[] = []
  let mayWait = false
  let inStep = true
  while (inStep && pieces.length < framesPerBatch) {
    const frame = validRequest(random)
    // Some stay as they are, so that there is something to read, stream and collide with.
    const piece = padded(random.oneIn(8) ? frame : mutate(frame, random), random)
    inStep = cut(piece, opcode => (mayWait ||= opcode === Opcode.seqnoPersistence)) === 0
    // A connection that is lost costs more than a frame: most of these are not sent.
    if (!inStep && !random.oneIn(12)) {
      inStep = true
      continue
    }
    pieces.push(piece)
  }
  return { bytes: Buffer.concat(pieces), frames: pieces.length, inStep, mayWait }
}

/** Given what it announces, if that is not too much. */
function padded(piece: Buffer, random: Seeded): Buffer {
  const missing = cut(piece)
  if (missing <= 0 || missing > paddedBytesMax || random.oneIn(8)) return piece
  return Buffer.concat([piece, Buffer.alloc(missing, random.uint32() & 0xff)])
}

/** How many bytes are missing to whole frames; -1 when they cannot be cut into frames. */
function cut(bytes: Buffer, see: (opcode: number) => void = () => undefined): number {
  let at = 0
  while (at < bytes.length) {
    if (!isMagic(bytes[at]!)) return -1
    if (bytes.length - at < headerLength) return headerLength - (bytes.length - at)
    const bodyLength = bytes.readUInt32BE(at + 8)
    if (bodyLength > skipBodyBytes) return -1
    see(bytes[at + 1]!)
    at += headerLength + bodyLength
  }
  return at - bytes.length
}

/** One connection, whose answers are checked to be frames and otherwise thrown away. */
class Link {
  answers = 0
  readonly #socket: Socket
  readonly #deadlineMs: number
  readonly #reader = new FrameReader({ maxBodyBytes: 2 ** 26, skipBodyBytes: 2 ** 26 })
  readonly #positions: Map<number, Position>
  /** By the opaque of a stream, which all its frames carry. */
  readonly #vbuuids = new Map<number, bigint>()
  #isClosed = false
  #isMarked = false
  #garbage: string | undefined
  #wake: (() => void) | undefined

  static async open(
    port: number,
    deadlineMs: number,
    positions: Map<number, Position>,
  ): Promise<Link> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    return new Link(socket, deadlineMs, positions)
  }

  private constructor(socket: Socket, deadlineMs: number, positions: Map<number, Position>) {
    this.#socket = socket
    this.#deadlineMs = deadlineMs
    this.#positions = positions
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#isClosed = true
      this.#wake?.()
    })
  }

  /** In one piece or in several, which end anywhere. */
  write(bytes: Buffer, random: Seeded): void {
    let at = 0
    while (at < bytes.length) {
      const end = random.oneIn(3) ? at + 1 + random.below(bytes.length - at) : bytes.length
      this.#socket.write(bytes.subarray(at, end))
      at = end
    }
  }

  /** Asks for a NOOP; `waiting` is only for those who may have to wait. */
  async settle(mayWait: boolean): Promise<'answered' | 'closed' | 'waiting'> {
    this.#isMarked = false
    this.#socket.write(marker)
    const settled = () => this.#isMarked || this.#isClosed
    const inTime = await this.#until(settled, mayWait ? patienceMs : this.#deadlineMs)
    if (!inTime && mayWait) return 'waiting'
    if (!inTime) throw new FuzzFailure(`no answer to a NOOP within ${this.#deadlineMs} ms`)
    return this.#isMarked ? 'answered' : 'closed'
  }

  /** Says that nothing more comes; the server has to close its side too. */
  async end(mayWait: boolean): Promise<'closed' | 'waiting'> {
    this.#socket.end()
    const inTime = await this.#until(() => this.#isClosed, mayWait ? patienceMs : this.#deadlineMs)
    if (!inTime && !mayWait) throw new FuzzFailure(`not closed within ${this.#deadlineMs} ms`)
    return inTime ? 'closed' : 'waiting'
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    const error = this.#reader.read(chunk, frame => {
      this.answers++
      if (frame.malformed) this.#garbage = 'a frame whose lengths cannot be'
      if (frame.opaque === markerOpaque && frame.opcode === Opcode.noop) this.#isMarked = true
      this.#follow(frame)
    })
    if (error) this.#garbage = `no frame: ${error.kind}`
    this.#wake?.()
  }

  /** Notes where streams are, as a client does that wants to come back. */
  #follow(frame: Frame): void {
    const { opcode, opaque, vbid, status } = frame
    const position = this.#positions.get(vbid)
    if (opcode === Opcode.dcpStreamRequest && status === Status.success) {
      if (frame.valueLength >= 8) this.#vbuuids.set(opaque, frame.value().readBigUInt64BE(0))
    } else if (opcode === Opcode.dcpSnapshotMarker && frame.extrasLength === 20) {
      const snapshotStart = frame.extrasSeqno(0)
      const snapshotEnd = frame.extrasSeqno(8)
      const vbuuid = this.#vbuuids.get(opaque) ?? 0n
      this.#positions.set(vbid, { vbuuid, seqno: snapshotStart, snapshotStart, snapshotEnd })
    } else if (opcode === Opcode.dcpMutation || opcode === Opcode.dcpDeletion) {
      if (position !== undefined) position.seqno = frame.extrasSeqno(0)
    }
  }

  async #until(condition: () => boolean, timeMs: number): Promise<boolean> {
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      this.#wake?.()
    }, timeMs)
    while (!condition() && !isLate && this.#garbage === undefined) {
      await new Promise<void>(resolve => (this.#wake = resolve))
    }
    clearTimeout(timer)
    if (this.#garbage !== undefined) throw new FuzzFailure(`the server sent ${this.#garbage}`)
    return condition()
  }
}
