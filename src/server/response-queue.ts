/**
 * Keeps answers in the order of their requests when some take longer than others.
 *
 * While it is empty answers go straight to the socket. A command that completes later opens a
 * slot; from then on every answer encoded for this connection queues behind that slot, until the
 * slots in front of it are filled.
 *
 * Frames of a change stream answer nothing: they come after whatever has been answered so far, their
 * own stream's request with it, and wait for no answer beyond that. Otherwise the first document of
 * a thousand streams would wait until the last of them is decided.
 */

/** The place of one answer that is still to come. */
export class Slot {
  /** It has no place in the order: nothing queues behind it. */
  isDetached = false
  waiting = true
  answer: Buffer | undefined
  /** Encoded after this answer and to be sent after it. */
  behind: Buffer[] | undefined
  next: Slot | undefined
  /** Its place in the order. */
  readonly place: number

  constructor(place: number) {
    this.place = place
  }
}

export class ResponseQueue {
  #head: Slot | undefined
  #tail: Slot | undefined
  /** The last one that is filled or has something behind it. */
  #lastAnswered: Slot | undefined
  #opened = 0
  #bytes = 0
  #slots = 0

  get isEmpty(): boolean {
    return this.#head === undefined
  }
  /** Bytes that wait for a slot in front of them. */
  get bytes(): number {
    return this.#bytes
  }
  get slots(): number {
    return this.#slots
  }
  /** Whether `drain` would take something out. */
  get isReady(): boolean {
    return this.#head !== undefined && !this.#head.waiting
  }

  open(): Slot {
    const slot = new Slot(++this.#opened)
    if (this.#tail === undefined) this.#head = slot
    else this.#tail.next = slot
    this.#tail = slot
    this.#slots++
    return slot
  }

  /** Only while the queue is not empty. */
  append(bytes: Buffer): void {
    this.#lastAnswered = this.#tail!
    this.#putBehind(this.#lastAnswered, bytes)
  }

  /** Frames of a stream. False: nothing has been answered that they come after, so nothing is kept. */
  appendFrames(bytes: Buffer): boolean {
    if (this.#lastAnswered === undefined) return false
    this.#putBehind(this.#lastAnswered, bytes)
    return true
  }

  /** `answer` undefined: nothing is said, as quiet commands want it. */
  fill(slot: Slot, answer: Buffer | undefined): void {
    slot.waiting = false
    slot.answer = answer
    if (this.#lastAnswered === undefined || this.#lastAnswered.place < slot.place) {
      this.#lastAnswered = slot
    }
    this.#bytes += answer?.length ?? 0
  }

  /** Sends what no longer waits for anything. */
  drain(send: (bytes: Buffer) => void): void {
    while (this.#head !== undefined && !this.#head.waiting) {
      const slot = this.#head
      this.#head = slot.next
      if (this.#head === undefined) this.#tail = undefined
      if (slot === this.#lastAnswered) this.#lastAnswered = undefined
      this.#slots--
      if (slot.answer !== undefined) this.#send(slot.answer, send)
      if (slot.behind === undefined) continue
      for (const bytes of slot.behind) this.#send(bytes, send)
    }
  }

  #putBehind(slot: Slot, bytes: Buffer): void {
    if (slot.behind === undefined) slot.behind = [bytes]
    else slot.behind.push(bytes)
    this.#bytes += bytes.length
  }

  #send(bytes: Buffer, send: (bytes: Buffer) => void): void {
    this.#bytes -= bytes.length
    send(bytes)
  }
}
