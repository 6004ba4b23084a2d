import type { Frame } from '../../protocol/frame.ts'
import { opcodeName } from '../../protocol/opcode.ts'
import type { Clock, Timer } from '../clock.ts'
import { ClientError, protocolError } from './errors.ts'

/** Reads one response; `true` says that another one of the same request will follow. */
export type ResponseVisitor = (frame: Frame) => boolean

export interface Patience {
  timeoutMs: number
  /**
   * True: counted from the request. False: from the request or the latest answer, so that one of
   * many requests on their way does not fail for the number of those before it.
   */
  isDeadline: boolean
}

interface PendingRequest {
  readonly opcode: number
  readonly visit: ResponseVisitor
  readonly fail: (error: Error) => void
  readonly patience: Patience
  sentMs: number
  /** Timed out: its answer may still come, and must not be taken for another's. */
  abandoned: boolean
}

/**
 * The requests of a connection that have no answer yet. The server answers in the order of the
 * requests, each with the opaque it came with; both are checked, as a client that takes one
 * answer for another's would hand out wrong data.
 */
export class PendingRequests {
  readonly #clock: Clock
  readonly #requests = new Map<number, PendingRequest>()
  #nextOpaque = 1
  /** The opaque of the oldest request without an answer: opaques count up. */
  #oldest = 1
  #lastAnswerMs = -Infinity
  #timer: Timer | undefined
  #timerDueMs = Infinity
  /** Since when no answer is read. */
  #heldMs: number | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#requests.size
  }

  /** Registers a request and returns its opaque. */
  add(
    opcode: number,
    patience: Patience,
    visit: ResponseVisitor,
    fail: (error: Error) => void,
  ): number {
    const opaque = this.#nextOpaque
    this.#nextOpaque = (opaque + 1) >>> 0
    const sentMs = this.#clock.monotonicMs()
    this.#requests.set(opaque, { opcode, visit, fail, patience, sentMs, abandoned: false })
    const dueMs = sentMs + patience.timeoutMs
    if (dueMs < this.#timerDueMs && this.#heldMs === undefined) this.#arm(dueMs)
    return opaque
  }

  /** Hands a response to its request. Returns why the connection cannot go on, if so. */
  answer(frame: Frame): ClientError | undefined {
    const request = this.#requests.get(frame.opaque)
    if (!request || frame.opaque !== this.#oldest)
      return protocolError(
        `${opcodeName(frame.opcode)} answered with opaque ${frame.opaque}, expected ${this.#oldest}`,
      )
    if (request.opcode !== frame.opcode)
      return protocolError(`${opcodeName(request.opcode)} answered as ${opcodeName(frame.opcode)}`)
    const more = this.#visit(request, frame)
    this.#lastAnswerMs = this.#clock.monotonicMs()
    if (more) {
      request.sentMs = this.#lastAnswerMs
    } else {
      this.#requests.delete(frame.opaque)
      this.#oldest = (frame.opaque + 1) >>> 0
    }
    return undefined
  }

  /** Nothing is read for now, whatever has come: it is not the server that lets requests wait. */
  hold(): void {
    this.#heldMs ??= this.#clock.monotonicMs()
    this.#disarm()
  }

  /** Their time goes on where it stood. */
  resume(): void {
    if (this.#heldMs === undefined) return
    const heldMs = this.#heldMs
    const nowMs = this.#clock.monotonicMs()
    this.#heldMs = undefined
    this.#lastAnswerMs += nowMs - heldMs
    for (const request of this.#requests.values())
      request.sentMs += nowMs - Math.max(heldMs, request.sentMs)
    this.#expire()
  }

  /** Fails all: their connection is gone. */
  failAll(error: Error): void {
    this.#disarm()
    const requests = [...this.#requests.values()]
    this.#requests.clear()
    for (const request of requests) if (!request.abandoned) request.fail(error)
  }

  #visit(request: PendingRequest, frame: Frame): boolean {
    try {
      return request.visit(frame)
    } catch (error) {
      // A reader that throws has found a malformed body: the connection itself is sound.
      request.fail(error as Error)
      return false
    }
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#timerDueMs = Infinity
  }

  #arm(dueMs: number): void {
    this.#timer?.cancel()
    this.#timerDueMs = dueMs
    const delayMs = Math.max(1, dueMs - this.#clock.monotonicMs())
    this.#timer = this.#clock.after(delayMs, () => this.#expire())
  }

  /** One timer serves all requests; most timeouts are alike, so it mostly finds what it looks for. */
  #expire(): void {
    this.#disarm()
    const nowMs = this.#clock.monotonicMs()
    let nextMs = Infinity
    for (const request of this.#requests.values()) {
      if (request.abandoned) continue
      const { sentMs, patience } = request
      const sinceMs = patience.isDeadline ? sentMs : Math.max(sentMs, this.#lastAnswerMs)
      const dueMs = sinceMs + patience.timeoutMs
      if (dueMs <= nowMs) {
        request.abandoned = true
        const what = `${opcodeName(request.opcode)}: no answer within ${patience.timeoutMs} ms`
        request.fail(new ClientError('HOLDFAST_TIMEOUT', what))
      } else {
        nextMs = Math.min(nextMs, dueMs)
      }
    }
    if (nextMs < Infinity) this.#arm(nextMs)
  }
}
