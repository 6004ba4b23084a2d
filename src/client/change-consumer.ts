import { isChange, type DcpEvent } from './change.ts'
import type { DcpSettings } from './dcp-options.ts'
import type { DcpSession } from './dcp-session.ts'
import { ClientError } from './errors.ts'
import type { EventQueue, QueuedEvent } from './event-queue.ts'
import { rolledBack } from './stream-position.ts'
import type { VbucketStream } from './vbucket-stream.ts'

/** What the consumer's side needs of the rest of the client. */
export interface ConsumerHost {
  session(): DcpSession | undefined
  /** Every stream came to its end. */
  allDone(): boolean
  /** The consumer followed a rollback of this stream. */
  followed(stream: VbucketStream): void
  failed(error: unknown): void
  /** There is room for more. */
  readOn(): void
  close(options?: { release?: boolean }): Promise<void>
}

type Result = IteratorResult<DcpEvent, undefined>

interface Waiter {
  readonly everything: boolean
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

/**
 * The end of the queue where the consumer takes. By asking for the next event it says that it is
 * done with those before: only then the server is told that they were consumed. Rollbacks happen
 * here too, so that they never come between a change and the end of its processing.
 */
export class ChangeConsumer {
  readonly #settings: DcpSettings
  readonly #queue: EventQueue
  readonly #host: ConsumerHost
  #waiter: Waiter | undefined
  #followingRollback = false
  #failure: { readonly error: unknown } | undefined
  #ended = false
  #changes = 0

  constructor(settings: DcpSettings, queue: EventQueue, host: ConsumerHost) {
    this.#settings = settings
    this.#queue = queue
    this.#host = host
  }

  /** Changes taken so far. */
  get changes(): number {
    return this.#changes
  }

  /** Why there will be nothing more, once what waits is taken. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failure
  }

  /** Something was queued, or something happened that ends the waiting. */
  wake(): void {
    const waiter = this.#waiter
    if (!waiter) return
    this.#waiter = undefined
    this.next(waiter.everything).then(waiter.resolve, waiter.reject)
  }

  /** What waits is still delivered, then the error. */
  fail(error: unknown): void {
    this.#failure ??= { error }
    this.wake()
  }

  /** Nothing more is delivered. */
  end(): void {
    this.#ended = true
    this.#queue.clear()
    this.wake()
  }

  iterator(everything: boolean): AsyncIterableIterator<DcpEvent, undefined> {
    return {
      next: () => this.next(everything),
      return: async () => {
        await this.#host.close()
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  next(everything: boolean): Promise<Result> {
    if (this.#waiter || this.#followingRollback)
      return Promise.reject(new Error('one consumer at a time, and one change at a time'))
    const acknowledges = !this.#settings.manualAcknowledgement
    if (acknowledges) this.#host.session()?.acknowledge(false)
    for (;;) {
      const item = this.#queue.shift()
      if (!item) break
      if ('rollbackSeqno' in item) return this.#follow(item, everything)
      this.#take(item)
      if (everything || isChange(item.event))
        return Promise.resolve({ done: false, value: item.event })
    }
    this.#host.readOn()
    if (acknowledges) this.#host.session()?.acknowledge(true)
    if (this.#failure) return Promise.reject(this.#failure.error)
    if (this.#ended) return Promise.resolve({ done: true, value: undefined })
    if (this.#host.allDone()) return this.#finish()
    return new Promise((resolve, reject) => (this.#waiter = { everything, resolve, reject }))
  }

  /** Whoever acknowledges by hand has yet to store the last of it, and closes when that is done. */
  async #finish(): Promise<Result> {
    if (!this.#settings.manualAcknowledgement) await this.#host.close({ release: true })
    return { done: true, value: undefined }
  }

  #take({ event, context, seqno, bytes }: Extract<QueuedEvent, { event: DcpEvent }>): void {
    const { stream, session } = context
    if (seqno >= 0) stream.take(seqno, context)
    if (stream.queued === 0) stream.settle()
    session.consumed(bytes)
    if (isChange(event)) this.#changes++
    if (this.#queue.bytes < this.#settings.queueBytesMax / 2) this.#host.readOn()
  }

  async #follow(
    { stream, failoverLog, rollbackSeqno }: Extract<QueuedEvent, { rollbackSeqno: number }>,
    everything: boolean,
  ): Promise<Result> {
    let seqno = Math.min(rollbackSeqno, stream.takenSeqno)
    try {
      if (seqno < stream.takenSeqno) seqno = await this.#decide(stream, seqno)
    } catch (error) {
      this.#host.failed(error)
      return this.next(everything)
    }
    if (!this.#failure && !this.#ended && stream.phase === 'rolling-back') {
      const position = rolledBack(failoverLog, seqno)
      stream.truncateTaken(position)
      stream.truncateReceived(position)
      this.#host.followed(stream)
    }
    return this.next(everything)
  }

  /** Where the consumer has gone back to. */
  async #decide(stream: VbucketStream, seqno: number): Promise<number> {
    this.#followingRollback = true
    try {
      const decision = await this.#settings.onRollback(stream.vbid, seqno)
      if (decision === 'accept') return seqno
      if (decision !== 'stop') return Math.max(0, Math.min(seqno, decision))
      const message = `vbucket ${stream.vbid} has to go back from ${stream.takenSeqno} to ${seqno}`
      throw new ClientError('HOLDFAST_ROLLBACK', message)
    } finally {
      this.#followingRollback = false
    }
  }
}
