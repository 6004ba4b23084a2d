import { StreamEndReason, streamEndReasonName } from '../../protocol/dcp/stream-end.ts'
import { isChange, type Change, type DcpEvent } from './change.ts'
import { DcpLink } from './dcp-link.ts'
import { settle, type DcpClientOptions, type DcpSettings } from './dcp-options.ts'
import { DcpReceiver } from './dcp-receiver.ts'
import type { DcpSession } from './dcp-session.ts'
import { ClientError } from './errors.ts'
import { EventQueue, type QueuedEvent } from './event-queue.ts'
import { initialStreams } from './initial-streams.ts'
import { StreamOpener } from './stream-opener.ts'
import {
  readState,
  rolledBack,
  savePosition,
  type DcpState,
  type StreamPosition,
} from './stream-position.ts'
import type { VbucketStream } from './vbucket-stream.ts'

export interface DcpStatistics {
  /** Over all connections. */
  bytesReceived: number
  /** Connections made after the first. */
  reconnects: number
  /** How often the server asked to go back. */
  rollbacks: number
  /** Changes the consumer took. */
  changes: number
  /** Streams that went on behind something they already had. */
  resumedStreams: number
  /** What waits for the consumer. */
  queuedEvents: number
  queuedBytes: number
  /** Consumed, but the server has not been told. */
  unacknowledgedBytes: number
  openStreams: number
  connected: boolean
}

interface Waiter {
  readonly everything: boolean
  readonly resolve: (result: IteratorResult<DcpEvent, undefined>) => void
  readonly reject: (error: unknown) => void
}

/**
 * Follows the changes of a bucket's vbuckets, over as many connections as it takes.
 *
 *     socket -> session -> receiver -> queue -> consumer
 *                  ^          |                    |
 *                  |          +- streams: received, taken
 *                  +------ acknowledged <----------+
 *
 * What the consumer took is where it goes on: within this process after any loss of connection,
 * without a gap or a repetition; in another one from `state()`, as of when that was kept.
 */
export class DcpClient implements AsyncIterable<Change> {
  readonly #settings: DcpSettings
  readonly #streams = new Map<number, VbucketStream>()
  /** Given as state, but not streamed: given back as they came. */
  readonly #others = new Map<number, StreamPosition>()
  readonly #queue = new EventQueue()
  readonly #opener: StreamOpener
  readonly #receiver: DcpReceiver
  readonly #link: DcpLink
  #waiter: Waiter | undefined
  #followingRollback = false
  #failure: { readonly error: unknown } | undefined
  #closing: Promise<void> | undefined
  #ended = false
  #rollbacks = 0
  #changes = 0
  #resumedStreams = 0
  #stopListening = () => {}

  /** Connects, and asks for all streams. Rejects if this cannot be done right now. */
  static async connect(options: DcpClientOptions): Promise<DcpClient> {
    const { signal } = options
    signal?.throwIfAborted()
    const settings = settle(options)
    const state = new Map<number, StreamPosition>()
    if (options.state !== undefined)
      for (const entry of readState(options.state, settings.bucket)) state.set(...entry)
    const client = new DcpClient(settings)
    const abort = () => client.#abort(signal?.reason)
    signal?.addEventListener('abort', abort)
    client.#stopListening = () => signal?.removeEventListener('abort', abort)
    try {
      await client.#start(state)
    } catch (error) {
      await client.close()
      throw client.#failure ? client.#failure.error : error
    }
    return client
  }

  private constructor(settings: DcpSettings) {
    this.#settings = settings
    const queued = () => this.#queued()
    const failed = (error: Error) => this.#fail(error)
    const streams = this.#streams
    this.#link = new DcpLink(settings, {
      connected: session => this.#attach(session),
      lost: () => {
        this.#opener.detach(streams.values())
        return !this.#allDone()
      },
      failed,
    })
    this.#opener = new StreamOpener(settings, this.#queue, {
      opened: (_stream, resumed) => {
        this.#link.proven()
        if (resumed) this.#resumedStreams++
      },
      rollbackAsked: (stream, seqno) => {
        this.#rollbacks++
        settings.log.warn({ vbid: stream.vbid, seqno }, 'the server asks for a rollback')
      },
      queued,
      done: () => this.#wake(),
      failed,
    })
    this.#receiver = new DcpReceiver(streams, this.#queue, {
      queued,
      ended: (stream, reason) => this.#opener.ended(stream, reason),
      violated: failed,
    })
  }

  /** The changes; snapshot markers and the like are left out. */
  [Symbol.asyncIterator](): AsyncIterator<Change, undefined> {
    return this.#iterator(false) as AsyncIterator<Change, undefined>
  }

  /** Changes, snapshot markers, advanced seqnos and stream ends, in the order they arrived. */
  events(): AsyncIterableIterator<DcpEvent, undefined> {
    return this.#iterator(true)
  }

  /**
   * Where the consumer is, as plain JSON to be kept and given back as `state`. What it holds in
   * its hands counts as taken: keep the state when it is processed, not at any other time.
   */
  state(): DcpState {
    const positions = new Map(this.#others)
    for (const stream of this.#streams.values()) positions.set(stream.vbid, stream.taken)
    const vbuckets = [...positions]
      .sort(([one], [other]) => one - other)
      .map(([vbid, position]) => savePosition(vbid, position))
    return { format: 'holdfast-dcp-state', version: 1, bucket: this.#settings.bucket, vbuckets }
  }

  /** With manual acknowledgement: all taken so far is safe, the server need not keep it. */
  acknowledge(): void {
    this.#link.session?.acknowledge(true)
  }

  statistics(): DcpStatistics {
    const { session } = this.#link
    return {
      bytesReceived: this.#link.bytesReceived,
      reconnects: this.#link.reconnects,
      rollbacks: this.#rollbacks,
      changes: this.#changes,
      resumedStreams: this.#resumedStreams,
      queuedEvents: this.#queue.length,
      queuedBytes: this.#queue.bytes,
      unacknowledgedBytes: session?.unacknowledgedBytes ?? 0,
      openStreams: [...this.#streams.values()].filter(({ phase }) => phase === 'open').length,
      connected: session !== undefined,
    }
  }

  /** Ends one stream; the iteration ends with the last. What waits of it is still delivered. */
  async closeStream(vbid: number): Promise<void> {
    const stream = this.#streams.get(vbid)
    if (!stream || stream.phase === 'done') return
    const { session } = this.#link
    const wasOpen = stream.phase === 'open'
    stream.phase = 'done'
    if (session && wasOpen) {
      const reason = streamEndReasonName(StreamEndReason.closed)
      const event = { type: 'stream-end', vbid, reason, reopens: false } as const
      this.#queue.push({ event, context: stream.context, seqno: -1, bytes: 0 })
      // Lost or refused: either way there is no such stream any more.
      await session.closeStream(vbid).catch(() => {})
    }
    this.#wake()
  }

  /**
   * Ends the client and the iteration; what waits is dropped, as if it had never arrived. The
   * server keeps what is needed to go on from `state()` for a while; `release` tells it that
   * nobody will come back.
   */
  close(options: { release?: boolean } = {}): Promise<void> {
    this.#closing ??= this.#shutDown(options.release ?? false)
    return this.#closing
  }

  #iterator(everything: boolean): AsyncIterableIterator<DcpEvent, undefined> {
    return {
      next: () => this.#next(everything),
      return: async () => {
        await this.close()
        return { done: true, value: undefined }
      },
      [Symbol.asyncIterator]() {
        return this
      },
    }
  }

  /** The consumer asks for one more: it is done with what it had. */
  #next(everything: boolean): Promise<IteratorResult<DcpEvent, undefined>> {
    if (this.#waiter || this.#followingRollback)
      return Promise.reject(new Error('one consumer at a time, and one change at a time'))
    if (!this.#settings.manualAcknowledgement)
      this.#link.session?.acknowledge(this.#queue.length === 0)
    for (;;) {
      const item = this.#queue.shift()
      if (!item) break
      if ('rollbackSeqno' in item) return this.#followRollback(item, everything)
      this.#take(item)
      if (everything || isChange(item.event))
        return Promise.resolve({ done: false, value: item.event })
    }
    this.#link.session?.pause(false)
    if (this.#failure) return Promise.reject(this.#failure.error)
    if (this.#ended) return Promise.resolve({ done: true, value: undefined })
    if (this.#allDone())
      return this.close({ release: true }).then(() => ({ done: true, value: undefined }))
    return new Promise((resolve, reject) => (this.#waiter = { everything, resolve, reject }))
  }

  #take(item: Extract<QueuedEvent, { event: DcpEvent }>): void {
    const { event, context, seqno, bytes } = item
    const { stream } = context
    if (seqno >= 0) stream.take(seqno, context)
    if (stream.queued === 0) stream.settle()
    context.session.consumed(bytes)
    if (isChange(event)) this.#changes++
    if (this.#queue.bytes < this.#settings.queueBytesMax / 2) this.#link.session?.pause(false)
  }

  async #followRollback(
    item: Extract<QueuedEvent, { rollbackSeqno: number }>,
    everything: boolean,
  ): Promise<IteratorResult<DcpEvent, undefined>> {
    const { stream, failoverLog } = item
    let seqno = Math.min(item.rollbackSeqno, stream.takenSeqno)
    if (seqno < stream.takenSeqno) {
      this.#followingRollback = true
      try {
        const decision = await this.#settings.onRollback(stream.vbid, seqno)
        if (decision === 'stop') {
          const message = `vbucket ${stream.vbid} has to go back from ${stream.takenSeqno} to ${seqno}`
          throw new ClientError('HOLDFAST_ROLLBACK', message)
        }
        if (typeof decision === 'number') seqno = Math.max(0, Math.min(seqno, decision))
      } catch (error) {
        this.#fail(error)
      } finally {
        this.#followingRollback = false
      }
    }
    if (!this.#failure && !this.#ended && stream.phase === 'rolling-back') {
      const position = rolledBack(failoverLog, seqno)
      stream.truncateTaken(position)
      stream.truncateReceived(position)
      this.#opener.reopen(stream)
    }
    return this.#next(everything)
  }

  #queued(): void {
    if (this.#waiter) this.#wake()
    else if (this.#queue.bytes > this.#settings.queueBytesMax) this.#link.session?.pause(true)
  }

  #wake(): void {
    const waiter = this.#waiter
    if (!waiter) return
    this.#waiter = undefined
    this.#next(waiter.everything).then(waiter.resolve, waiter.reject)
  }

  #allDone(): boolean {
    for (const stream of this.#streams.values()) if (stream.phase !== 'done') return false
    return true
  }

  async #start(state: ReadonlyMap<number, StreamPosition>): Promise<void> {
    const session = await this.#link.open()
    for (const stream of await initialStreams(session, this.#settings, state))
      this.#streams.set(stream.vbid, stream)
    for (const [vbid, position] of state)
      if (!this.#streams.has(vbid)) this.#others.set(vbid, position)
    this.#attach(session)
    this.#link.follow(session)
  }

  #attach(session: DcpSession): void {
    session.onMessage = frame => this.#receiver.receive(frame, session)
    if (this.#queue.bytes > this.#settings.queueBytesMax) session.pause(true)
    this.#opener.attach(session, this.#streams.values())
  }

  #abort(reason: unknown): void {
    this.#queue.clear()
    this.#fail(reason)
  }

  /** The consumer gets what waits for it, then the error. */
  #fail(error: unknown): void {
    if (this.#failure || this.#ended) return
    this.#failure = { error }
    this.#opener.detach(this.#streams.values())
    this.#link.close(false).catch(() => {})
    this.#stopListening()
    this.#wake()
  }

  async #shutDown(release: boolean): Promise<void> {
    this.#ended = true
    this.#queue.clear()
    this.#opener.detach(this.#streams.values())
    this.#stopListening()
    this.#wake()
    await this.#link.close(release)
  }
}
