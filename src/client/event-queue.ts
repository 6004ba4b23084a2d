import type { DcpEvent } from './change.ts'
import type { HistoryBranch } from './stream-position.ts'
import type { EventContext, VbucketStream } from './vbucket-stream.ts'

/** What waits for the consumer: an event, or a rollback that it has to follow first. */
export type QueuedEvent =
  | {
      readonly event: DcpEvent
      readonly context: EventContext
      /** Where the stream is after it; -1 if it moves nothing. */
      readonly seqno: number
      /** Its frame's length: what the server has to be told once it is consumed. */
      readonly bytes: number
    }
  | {
      /** How far back the server wants the stream to go. */
      readonly rollbackSeqno: number
      readonly failoverLog: readonly HistoryBranch[]
      readonly stream: VbucketStream
    }

/** First in, first out, and counted in bytes, so that the receiver knows when to stop reading. */
export class EventQueue {
  #items: (QueuedEvent | undefined)[] = []
  #head = 0
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  get length(): number {
    return this.#items.length - this.#head
  }

  push(item: QueuedEvent): void {
    this.#items.push(item)
    if ('event' in item) {
      item.context.stream.queued++
      this.#bytes += item.bytes
    }
  }

  shift(): QueuedEvent | undefined {
    if (this.#head === this.#items.length) return undefined
    const item = this.#items[this.#head]!
    this.#items[this.#head++] = undefined
    // Moving what is left is cheap once half is gone, and costs less than one move an item.
    if (
      this.#head === this.#items.length ||
      (this.#head > 1024 && this.#head * 2 > this.#items.length)
    ) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    this.#forget(item)
    return item
  }

  /** Drops what waits of `stream`; for the server's window it counts as consumed. */
  removeAll(stream: VbucketStream): void {
    const kept: QueuedEvent[] = []
    for (const item of this.#items.slice(this.#head) as QueuedEvent[]) {
      if ('event' in item && item.context.stream === stream) {
        this.#forget(item)
        item.context.session.consumed(item.bytes)
      } else {
        kept.push(item)
      }
    }
    this.#items = kept
    this.#head = 0
  }

  clear(): void {
    for (const item of this.#items.slice(this.#head) as QueuedEvent[]) this.#forget(item)
    this.#items = []
    this.#head = 0
  }

  #forget(item: QueuedEvent): void {
    if (!('event' in item)) return
    item.context.stream.queued--
    this.#bytes -= item.bytes
  }
}
