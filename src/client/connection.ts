import type { Socket } from 'node:net'
import { readUint32, writeUint32 } from '../../protocol/bytes.ts'
import { FrameReader } from '../../protocol/frame-reader.ts'
import type { Frame } from '../../protocol/frame.ts'
import { headerLength, HeaderOffset } from '../../protocol/header.ts'
import { isRequestMagic, Magic } from '../../protocol/magic.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeRequest, type RequestFields } from '../../protocol/requests.ts'
import type { Clock } from '../clock.ts'
import { clientClock } from './client-clock.ts'
import { ClientError, protocolError } from './errors.ts'
import { Outbox } from './outbox.ts'
import { PendingRequests, type Patience, type ResponseVisitor } from './pending-requests.ts'
import { openSocket, readyEvent, type TlsOptions } from './socket.ts'

export interface ConnectionOptions {
  /** Default 127.0.0.1. */
  host?: string
  /** Default 11210. */
  port?: number
  /** Encrypt, and how (default false). */
  tls?: boolean | TlsOptions
  /** Default 5,000. */
  connectTimeoutMs?: number
  /** How long requests may go without any answer (default 10,000). */
  requestTimeoutMs?: number
  /** A longer body ends the connection (default 32 MiB). */
  bodyBytesMax?: number
  /**
   * What the socket is read into (default: 256 KiB that all connections share). Frames that came whole
   * are views of it; nobody else may write to it.
   */
  readInto?: Buffer
  clock?: Clock
}

export interface ConnectionEvents {
  /** A request of the server, such as a DCP message; the frame is valid until it returns. */
  onRequest?: (frame: Frame) => void
  /** Once, when the socket is gone; `error` says why, unless its owner ended it. */
  onClose?: (error: ClientError | undefined) => void
}

export interface RequestOptions {
  /** From the request to its answer; by default `requestTimeoutMs` holds. */
  timeoutMs?: number
}

/** A request's parts, or all of it encoded but for the opaque, which the connection assigns. */
export type Request = RequestFields | Buffer

/**
 * What sockets read into, one for all connections of this thread: a read is followed by its
 * callback before anything else runs, and the frame reader copies what it keeps.
 */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024)

/**
 * One TCP connection. Requests are pipelined: everything asked for within one turn of the event
 * loop leaves in one write, and answers are matched as they come. When the connection is lost,
 * all that had no answer fails, and it stays lost: whoever owns it makes a new one.
 */
export class Connection {
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #events: ConnectionEvents
  readonly #connectTimeoutMs: number
  readonly #patience: Patience
  readonly #pending: PendingRequests
  readonly #reader: FrameReader
  readonly #outbox: Outbox
  readonly #closed: Promise<void>
  readonly #address: string
  readonly #tls: boolean | TlsOptions
  #error: ClientError | undefined
  #ending = false
  #bytesRead = 0
  #lastReadMs: number

  /** Connects, or rejects with HOLDFAST_CONNECT. */
  static async open(options: ConnectionOptions, events: ConnectionEvents = {}) {
    const connection = new Connection(options, events)
    await connection.connected()
    return connection
  }

  /** Begins to connect; for owners that may want to drop it before it is there. */
  constructor(options: ConnectionOptions, events: ConnectionEvents = {}) {
    const { host = '127.0.0.1', port = 11210, bodyBytesMax = 32 * 1024 * 1024 } = options
    this.#clock = options.clock ?? clientClock
    this.#events = events
    this.#connectTimeoutMs = options.connectTimeoutMs ?? 5_000
    this.#patience = { timeoutMs: options.requestTimeoutMs ?? 10_000, isDeadline: false }
    this.#pending = new PendingRequests(this.#clock)
    this.#reader = new FrameReader({ maxBodyBytes: bodyBytesMax, skipBodyBytes: bodyBytesMax })
    this.#lastReadMs = this.#clock.monotonicMs()
    this.#address = `${host}:${port}`
    const callback = (length: number, bytes: Uint8Array) => {
      this.#read(bytes.subarray(0, length))
      return true
    }
    this.#tls = options.tls ?? false
    const onread = { buffer: options.readInto ?? readBuffer, callback }
    this.#socket = openSocket({ host, port, tls: this.#tls, onread })
    this.#outbox = new Outbox(this.#socket)
    this.#socket.on('error', error => this.#fail(this.#lost(error)))
    this.#socket.on('end', () => this.#fail(this.#lost()))
    this.#closed = new Promise(resolve => {
      this.#socket.once('close', () => {
        this.#finish()
        resolve()
      })
    })
  }

  /** Resolves once the connection is there, or rejects with HOLDFAST_CONNECT. */
  connected(): Promise<void> {
    if (this.#error) return Promise.reject(this.#error)
    return new Promise((resolve, reject) => {
      const timeoutMs = this.#connectTimeoutMs
      const timer = this.#clock.after(timeoutMs, () =>
        refuse(new Error(`no connection within ${timeoutMs} ms`)),
      )
      const refuse = (cause: Error) => {
        timer.cancel()
        const message = `cannot connect to ${this.#address}: ${messageOf(cause)}`
        const error = new ClientError('HOLDFAST_CONNECT', message, { cause })
        this.#ending = true
        this.#fail(error)
        reject(error)
      }
      const dropped = () => refuse(this.#error ?? new Error('closed'))
      this.#socket.once('error', refuse)
      this.#socket.once('close', dropped)
      this.#socket.once(readyEvent(this.#tls), () => {
        timer.cancel()
        this.#socket.off('error', refuse)
        this.#socket.off('close', dropped)
        this.#lastReadMs = this.#clock.monotonicMs()
        resolve()
      })
    })
  }

  /** Counts from the connection's start. */
  get bytesRead(): number {
    return this.#bytesRead
  }

  /** When the peer was last heard of, on the clock's monotonic scale. */
  get lastReadMs(): number {
    return this.#lastReadMs
  }

  get isEncrypted(): boolean {
    return this.#tls !== false
  }

  get isOpen(): boolean {
    return this.#error === undefined && !this.#ending
  }

  /** Requests without an answer. */
  get pendingCount(): number {
    return this.#pending.size
  }

  /** Sends a request; `read` makes the result of its answer, whatever the status. */
  send<T>(request: Request, read: (frame: Frame) => T, options?: RequestOptions): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const visit: ResponseVisitor = frame => {
        resolve(read(frame))
        return false
      }
      this.#enqueue(request, visit, reject, options)
    })
  }

  /** The same for requests with several responses: `visit` says whether one more will come. */
  sendForMany(request: Request, visit: ResponseVisitor, options?: RequestOptions) {
    return new Promise<void>((resolve, reject) => {
      const visitAndResolve: ResponseVisitor = frame => {
        const more = visit(frame)
        if (!more) resolve()
        return more
      }
      this.#enqueue(request, visitAndResolve, reject, options)
    })
  }

  /**
   * Requests that lie one behind the other in `bytes`, each encoded but for its opaque, and all with
   * one answer; `visit` sees the answers in their order. Resolves with the last one. When it
   * rejects, those that were not seen may have been carried out or not. `bytes` must not be changed
   * before.
   */
  sendBatch(bytes: Buffer, visit: (frame: Frame) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.isOpen) {
        reject(this.#error ?? new ClientError('HOLDFAST_CLOSED', 'the client was closed'))
        return
      }
      let missing = 0
      const visitAndCount: ResponseVisitor = frame => {
        visit(frame)
        if (--missing === 0) resolve()
        return false
      }
      for (let at = 0; at < bytes.length; missing++) {
        const opcode = bytes[at + HeaderOffset.opcode]!
        const opaque = this.#pending.add(opcode, this.#patience, visitAndCount, reject)
        writeUint32(bytes, at + HeaderOffset.opaque, opaque)
        at += headerLength + readUint32(bytes, at + HeaderOffset.bodyLength)
      }
      this.write(bytes)
      if (missing === 0) resolve()
    })
  }

  /** The raw form: the response itself, detached, whatever its status. */
  request(request: Request, options?: RequestOptions): Promise<Frame> {
    return this.send(request, frame => frame.copy(), options)
  }

  /** Sends what gets no answer; `bytes` must not be changed afterwards. */
  write(bytes: Buffer): void {
    if (!this.#error) this.#outbox.add(bytes)
  }

  /** Stops reading from the socket: back-pressure towards the server. No request times out meanwhile. */
  pause(): void {
    this.#pending.hold()
    this.#socket.pause()
  }

  resume(): void {
    this.#pending.resume()
    this.#socket.resume()
  }

  /**
   * Says goodbye (QUIT), so that the server knows that it is no accident, and waits for the end.
   * Requests sent before still get their answers.
   */
  async close(timeoutMs = 1_000): Promise<void> {
    if (this.isOpen) {
      const leave = this.send({ opcode: Opcode.quit }, () => {}, { timeoutMs })
      this.#ending = true
      await leave.catch(() => {})
    }
    this.destroy()
    await this.#closed
  }

  /** Drops the connection at once; what has no answer fails with `error`. */
  destroy(error?: ClientError): void {
    this.#ending ||= error === undefined
    this.#fail(error ?? new ClientError('HOLDFAST_CLOSED', 'the client was closed'))
  }

  #enqueue(
    request: Request,
    visit: ResponseVisitor,
    fail: (error: Error) => void,
    options: RequestOptions = {},
  ): void {
    if (!this.isOpen) {
      fail(this.#error ?? new ClientError('HOLDFAST_CLOSED', 'the client was closed'))
      return
    }
    const bytes = Buffer.isBuffer(request) ? request : encodeRequest(request)
    const { timeoutMs } = options
    const patience = timeoutMs === undefined ? this.#patience : { timeoutMs, isDeadline: true }
    const opcode = bytes[HeaderOffset.opcode]!
    const opaque = this.#pending.add(opcode, patience, visit, fail)
    writeUint32(bytes, HeaderOffset.opaque, opaque)
    this.write(bytes)
  }

  #read(chunk: Uint8Array): void {
    this.#bytesRead += chunk.length
    this.#lastReadMs = this.#clock.monotonicMs()
    const broken = this.#reader.read(chunk, frame => {
      this.#dispatch(frame)
      return this.#error === undefined
    })
    if (broken) this.#fail(protocolError(`the server sent no frame: ${broken.kind}`))
  }

  #dispatch(frame: Frame): void {
    if (frame.malformed || frame.oversized) {
      this.#fail(protocolError('the server sent a frame whose lengths cannot be'))
    } else if (frame.magic === Magic.response || frame.magic === Magic.altResponse) {
      const error = this.#pending.answer(frame)
      if (error) this.#fail(error)
    } else if (isRequestMagic(frame.magic)) {
      this.#events.onRequest?.(frame)
    } else {
      this.#fail(protocolError(`the server sent magic 0x${frame.magic.toString(16)}`))
    }
  }

  #lost(cause?: Error): ClientError {
    const why = cause ? messageOf(cause) : 'closed by the server'
    const message = `connection to ${this.#address} lost: ${why}`
    return new ClientError('HOLDFAST_CONNECTION_LOST', message, cause ? { cause } : {})
  }

  #fail(error: ClientError): void {
    if (this.#error) return
    this.#error = error
    this.#outbox.clear()
    this.#socket.destroy()
    this.#pending.failAll(error)
  }

  #finish(): void {
    this.#fail(this.#lost())
    this.#events.onClose?.(this.#ending ? undefined : this.#error)
  }
}

/** When a name has several addresses, Node's error has a code and the causes, but no message. */
function messageOf(error: NodeJS.ErrnoException): string {
  return error.message || (error.code ?? error.name)
}
