import type { Socket } from 'node:net'
import type { Answering, AnswerRound } from './answer-round.ts'
import type { OperationCounters } from './operation-counters.ts'
import type { MemoryBudget } from './memory-budget.ts'
import { slabBytes, type OutputTarget } from './output-slab.ts'
import { ResponseQueue, Slot } from './response-queue.ts'

/** Up to here answers are copied, if many clients lag, rather than leaving the slab with one. */
const copiedBytesMax = 4 * 1024
const nothing = Buffer.alloc(0)

export interface ResponseWriterOptions {
  readonly id: number
  readonly socket: Socket
  /** The socket never takes bytes at once, as with TLS: what is not owned has to be copied. */
  readonly copies: boolean
  readonly budget: MemoryBudget
  readonly counters: OperationCounters
  /** Of all connections. */
  readonly round: AnswerRound
  /** The client took something, or an answer that others waited for is there. */
  readonly onProgress: () => void
  /** Close the connection: it leaves too much unread. */
  readonly onEvict: (reason: string) => void
}

/**
 * Takes one connection's answers, keeps their order, writes them and knows how much the client has
 * not read. A write that the kernel does not take at once is followed by an empty one, whose
 * callback tells when the client has caught up: clients that read cost no callback.
 */
export class ResponseWriter implements OutputTarget, Answering {
  readonly id: number
  readonly #socket: Socket
  readonly #copies: boolean
  readonly #budget: MemoryBudget
  readonly #counters: OperationCounters
  readonly #round: AnswerRound
  readonly #onProgress: () => void
  readonly #onEvict: (reason: string) => void
  readonly #queue = new ResponseQueue()
  /** Answers that are waited for and hold nothing back. */
  #detached = 0
  /** Of these, the ones that have become ready. */
  readonly #overtaking: Buffer[] = []
  /** What the budget was last told. */
  #chargedBytes = 0
  /** Of a slab that had to be left to the socket: what it holds beyond the answer. */
  #slackBytes = 0
  #awaitsWritten = false
  #isInRound = false
  /** What leaves with the round under way. */
  readonly #gathered: Buffer[] = []

  constructor(options: ResponseWriterOptions) {
    this.id = options.id
    this.#socket = options.socket
    this.#copies = options.copies
    this.#budget = options.budget
    this.#counters = options.counters
    this.#round = options.round
    this.#onProgress = options.onProgress
    this.#onEvict = options.onEvict
  }

  get chargedBytes(): number {
    return this.#chargedBytes
  }
  /** Answers that are waited for, or that wait for those. */
  get slots(): number {
    return this.#queue.slots + this.#detached
  }
  /** Nothing is waited for. */
  get isInOrder(): boolean {
    return this.#queue.isEmpty && this.#detached === 0
  }
  /** Bytes that the kernel has not taken. */
  get unreadBytes(): number {
    return this.#socket.writableLength + this.#queue.bytes
  }

  /** False too when it would be dear to be wrong, as others lag already. */
  get takesAtOnce(): boolean {
    if (this.#copies || !this.#queue.isEmpty || this.#chargedBytes > 0) return false
    return !this.#budget.isCrowded && this.#budget.allowanceBytes > 0
  }

  deliver(bytes: Buffer, owned: boolean): boolean {
    if (this.#queue.isEmpty) return this.#send(bytes, owned)
    this.#queue.append(owned ? bytes : Buffer.from(bytes))
    this.#charge()
    return true
  }

  /**
   * Frames of a stream, behind the answers encoded so far. The bytes are owned; `taken` is called when
   * the kernel has them, or never: when they had to wait in line.
   */
  deliverFrames(bytes: Buffer, taken?: () => void): void {
    if (this.#queue.appendFrames(bytes)) this.#charge()
    else this.#send(bytes, true, taken)
  }

  /** `mayBeOvertaken`: what is answered from now on need not wait for it. */
  openSlot(mayBeOvertaken: boolean): Slot {
    if (!mayBeOvertaken || !this.#queue.isEmpty) return this.#queue.open()
    this.#detached++
    const slot = new Slot(0)
    slot.isDetached = true
    return slot
  }

  fillSlot(slot: Slot, answer: Buffer | undefined): void {
    if (slot.isDetached) {
      this.#detached--
      if (answer !== undefined) this.#overtaking.push(answer)
    } else {
      this.#queue.fill(slot, answer)
      if (!this.#queue.isReady) return this.#charge()
    }
    if (this.#isInRound) return
    this.#isInRound = true
    this.#round.add(this)
  }

  gather(): void {
    this.#isInRound = false
    const gathered = this.#gathered
    if (this.#overtaking.length > 0) gathered.push(...this.#overtaking.splice(0))
    this.#queue.drain(this.#gatherOne)
  }

  readonly #gatherOne = (bytes: Buffer): void => {
    this.#gathered.push(bytes)
  }

  write(): void {
    const gathered = this.#gathered
    if (gathered.length === 1) this.#send(gathered.pop()!, true)
    else if (gathered.length > 1) this.#sendAll(gathered.splice(0))
  }

  #sendAll(answers: readonly Buffer[]): void {
    let length = 0
    for (const bytes of answers) length += bytes.length
    if (length <= slabBytes) return void this.#send(Buffer.concat(answers, length), true)
    this.#socket.cork()
    for (const bytes of answers) this.#send(bytes, true)
    this.#socket.uncork()
  }

  progress(): void {
    this.#charge()
    this.#onProgress()
  }

  /** The connection is gone. */
  release(): void {
    this.#budget.charge(this, this.#chargedBytes, 0)
    this.#chargedBytes = 0
  }

  evict(reason: string): void {
    this.release()
    this.#onEvict(reason)
  }

  #send(bytes: Buffer, owned: boolean, taken?: () => void): boolean {
    const socket = this.#socket
    if (socket.destroyed || socket.writableEnded) return true
    this.#counters.bytesWritten += bytes.length
    const copied = !owned && (this.#copies || this.#mayWait(bytes.length))
    socket.write(copied ? Buffer.from(bytes) : bytes, taken)
    if (socket.writableLength === 0) return true
    const keepsSlab = !owned && !copied
    if (keepsSlab) this.#slackBytes = bytes.buffer.byteLength - bytes.length
    this.#awaitWritten()
    this.#charge()
    return !keepsSlab
  }

  /** Whether bytes given to the socket now would, or might, have to stay with it. */
  #mayWait(length: number): boolean {
    return this.#chargedBytes > 0 || (length <= copiedBytesMax && this.#budget.isCrowded)
  }

  #awaitWritten(): void {
    if (this.#awaitsWritten) return
    this.#awaitsWritten = true
    this.#socket.write(nothing, this.#written)
  }

  #written = (error?: Error | null): void => {
    this.#awaitsWritten = false
    if (error) return
    this.#slackBytes = 0
    if (this.#socket.writableLength > 0) this.#awaitWritten()
    this.#charge()
    this.#onProgress()
  }

  #charge(): void {
    const unread = this.unreadBytes
    const bytes = unread === 0 ? 0 : unread + this.#slackBytes
    if (bytes === this.#chargedBytes || this.#socket.destroyed) return
    const before = this.#chargedBytes
    this.#chargedBytes = bytes
    this.#budget.charge(this, before, bytes)
  }
}
