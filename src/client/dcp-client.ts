import { StreamEndReason, streamEndReasonName } from '../../protocol/dcp/stream-end.ts'
import { Arrivals } from './arrivals.ts'
import { ChangeConsumer } from './change-consumer.ts'
import type { Change, DcpEvent } from './change.ts'
import { CollectionNames } from './collection-names.ts'
import {
  assertSameSelection,
  filterOf,
  savedSelection,
  type StreamFilter,
} from './collection-selection.ts'
import { DcpLink } from './dcp-link.ts'
import { settle, type DcpClientOptions, type DcpSettings } from './dcp-options.ts'
import { DcpReceiver } from './dcp-receiver.ts'
import type { DcpSession } from './dcp-session.ts'
import { EventQueue } from './event-queue.ts'
import { initialStreams } from './initial-streams.ts'
import { StreamOpener } from './stream-opener.ts'
import {
  readState,
  savePosition,
  type DcpState,
  type ReadState,
  type SavedPosition,
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
  readonly #names: CollectionNames | undefined
  #filter: StreamFilter | undefined
  readonly #opener: StreamOpener
  readonly #receiver: DcpReceiver
  readonly #link: DcpLink
  readonly #consumer: ChangeConsumer
  readonly #arrivals: Arrivals | undefined
  #closing: Promise<void> | undefined
  #rollbacks = 0
  #resumedStreams = 0
  #stopListening = () => {}

  /** Connects, and asks for all streams. Rejects if this cannot be done right now. */
  static async connect(options: DcpClientOptions): Promise<DcpClient> {
    const { signal } = options
    signal?.throwIfAborted()
    const settings = settle(options)
    const { state: given } = options
    const state = given === undefined ? undefined : readState(given, settings.bucket)
    const client = new DcpClient(settings)
    const abort = () => client.#abort(signal?.reason)
    signal?.addEventListener('abort', abort)
    client.#stopListening = () => signal?.removeEventListener('abort', abort)
    try {
      await client.#start(state)
    } catch (error) {
      await client.close()
      const { failure } = client.#consumer
      throw failure ? failure.error : error
    }
    return client
  }

  private constructor(settings: DcpSettings) {
    this.#settings = settings
    this.#names = settings.collections && new CollectionNames()
    const streams = this.#streams
    const queue = this.#queue
    const queued = () => this.#queued()
    const failed = (error: unknown) => this.#fail(error)
    this.#link = new DcpLink(settings, {
      connected: session => this.#attach(session),
      lost: () => {
        this.#opener.detach(streams.values())
        return !this.#allDone()
      },
      failed,
    })
    this.#opener = new StreamOpener(settings, queue, {
      opened: resumed => {
        this.#link.proven()
        if (resumed) this.#resumedStreams++
      },
      rollbackAsked: (stream, seqno) => {
        this.#rollbacks++
        settings.log.warn({ vbid: stream.vbid, seqno }, 'the server asks for a rollback')
      },
      queued,
      failed,
    })
    this.#arrivals = this.#newArrivals()
    this.#receiver = new DcpReceiver(streams, queue, {
      names: this.#names,
      arrivals: this.#arrivals,
      queued,
      ended: (stream, reason) => this.#opener.ended(stream, reason),
      violated: failed,
    })
    this.#consumer = new ChangeConsumer(settings, queue, {
      session: () => this.#link.session,
      allDone: () => this.#allDone(),
      followed: stream => this.#opener.reopen(stream),
      failed,
      readOn: () => this.#readOn(),
      close: options => this.close(options),
    })
  }

  /** The changes; snapshot markers and the like are left out. */
  [Symbol.asyncIterator](): AsyncIterator<Change, undefined> {
    return this.#consumer.iterator(false) as AsyncIterator<Change, undefined>
  }

  /** Changes, snapshot markers, advanced seqnos and stream ends, in the order they arrived. */
  events(): AsyncIterableIterator<DcpEvent, undefined> {
    return this.#consumer.iterator(true)
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
    const collections = this.#filter && { collections: savedSelection(this.#filter) }
    const { bucket } = this.#settings
    return { format: 'holdfast-dcp-state', version: 1, bucket, ...collections, vbuckets }
  }

  /** Where the consumer is in one of the vbuckets that it streams. */
  position(vbid: number): SavedPosition | undefined {
    const stream = this.#streams.get(vbid)
    return stream && savePosition(vbid, stream.taken)
  }

  /** With manual acknowledgement: all taken so far is safe, the server need not keep it. */
  acknowledge(): void {
    this.#link.session?.acknowledge(true)
  }

  /** What this connection brought and was taken, but the server has not been told of. */
  get unacknowledgedBytes(): number {
    return this.#link.session?.unacknowledgedBytes ?? 0
  }

  statistics(): DcpStatistics {
    const { session } = this.#link
    return {
      bytesReceived: this.#link.bytesReceived,
      reconnects: this.#link.reconnects,
      rollbacks: this.#rollbacks,
      changes: this.#arrivals?.count ?? this.#consumer.changes,
      resumedStreams: this.#resumedStreams,
      queuedEvents: this.#queue.length,
      queuedBytes: this.#queue.bytes,
      unacknowledgedBytes: this.unacknowledgedBytes,
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
    this.#opener.openMore()
    this.#consumer.wake()
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

  #queued(): void {
    this.#consumer.wake()
    if (this.#isFull()) this.#link.session?.pause(true)
  }

  #isFull(): boolean {
    return this.#queue.bytes > this.#settings.queueBytesMax || (this.#arrivals?.isHeld ?? false)
  }

  #readOn(): void {
    if (!this.#isFull()) this.#link.session?.pause(false)
  }

  #newArrivals(): Arrivals | undefined {
    const { takeChange, manualAcknowledgement, collections } = this.#settings
    if (!takeChange) return undefined
    const acknowledges = !manualAcknowledgement
    const options = { acknowledges, hasCollections: collections !== undefined }
    return new Arrivals(takeChange, options, {
      held: isHeld => (isHeld ? this.#link.session?.pause(true) : this.#readOn()),
      failed: error => this.#fail(error),
    })
  }

  #allDone(): boolean {
    for (const stream of this.#streams.values()) if (stream.phase !== 'done') return false
    return true
  }

  async #start(state: ReadState | undefined): Promise<void> {
    const session = await this.#link.open()
    const { collections } = this.#settings
    const filter = collections && filterOf(collections, session.manifest!)
    if (state) assertSameSelection(state.collections, filter)
    this.#filter = filter
    const positions = state?.positions ?? new Map<number, StreamPosition>()
    for (const stream of await initialStreams(session, this.#settings, { positions, filter }))
      this.#streams.set(stream.vbid, stream)
    for (const [vbid, position] of positions)
      if (!this.#streams.has(vbid)) this.#others.set(vbid, position)
    this.#attach(session)
    this.#link.follow(session)
  }

  #attach(session: DcpSession): void {
    if (session.manifest) this.#names?.learn(session.manifest)
    session.onMessage = frame => this.#receiver.receive(frame, session)
    if (this.#isFull()) session.pause(true)
    this.#opener.attach(session, this.#streams)
  }

  #abort(reason: unknown): void {
    this.#queue.clear()
    this.#fail(reason)
  }

  /** The consumer gets what waits for it, then the error. */
  #fail(error: unknown): void {
    if (this.#consumer.failure || this.#closing) return
    this.#opener.detach(this.#streams.values())
    this.#link.close(false).catch(() => {})
    this.#stopListening()
    this.#consumer.fail(error)
  }

  async #shutDown(release: boolean): Promise<void> {
    this.#opener.detach(this.#streams.values())
    this.#stopListening()
    this.#consumer.end()
    await this.#link.close(release)
  }
}
