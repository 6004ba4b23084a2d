/**
 * One DCP connection: what its client negotiated, its streams, and what becomes of them when the
 * connection goes away. Its parts: the pump sends, flow control and no-ops watch the link, the
 * deliveries account for what resumable streams have under way.
 */
import { encodeFailoverLog } from '../../protocol/dcp/failover-log.ts'
import { MarkerVersion } from '../../protocol/dcp/snapshot-marker.ts'
import { StreamEndReason } from '../../protocol/dcp/stream-end.ts'
import type { StreamRequest } from '../../protocol/dcp/stream-request.ts'
import { Status } from '../../protocol/status.ts'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { pinForReturn } from './backfill-plan.ts'
import type { BackfillPlan } from './backfill.ts'
import { control, type Controlled, type Negotiated } from './controls.ts'
import type { DcpCounters } from './counters.ts'
import type { Deliveries } from './deliveries.ts'
import type { Delivery } from './delivery.ts'
import { Departure } from './departure.ts'
import { FlowControl } from './flow-control.ts'
import { NoopTimer } from './noop.ts'
import type { ConnectionForm } from './open-request.ts'
import type { OpeningTurns } from './opening-turns.ts'
import { Outbox } from './outbox.ts'
import type { DcpOutput } from './output.ts'
import { resumeByDefault } from './parking/identity.ts'
import { ReleaseCause } from './parking/held-snapshot.ts'
import type { ParkingLot } from './parking/parking-lot.ts'
import type { Reaper } from './parking/reaper.ts'
import type { ProducerCore } from './producer-core.ts'
import { deliveriesOf } from './producer-deliveries.ts'
import { Pump } from './pump.ts'
import type { ReadSlots } from './read-slots.ts'
import { ScanTurns } from './scan-turns.ts'
import type { DcpSettings } from './settings.ts'
import type { Progress, Stream, StreamHost } from './stream.ts'
import { causeOf, endNow, logEnd } from './stream-end.ts'
import { refusal, type StreamAnswer, type StreamAsker } from './stream-answer.ts'
import { closeOpening, openStream, type StreamOpening } from './stream-opening.ts'
import { slotOf } from './stream-scope.ts'

/** Of what a client says, so many characters are logged. */
const shownMax = 100

export interface ProducerOptions {
  name: string
  user: string
  bucket: Bucket
  /** The client knows of collections. */
  isAware: boolean
  form: ConnectionForm
  output: DcpOutput
  /** Names this connection, also beyond a restart: for its pins and holds. */
  holder: string
  settings: DcpSettings
  clock: Clock
  log: Log
  lot: ParkingLot
  reaper: Reaper
  counters: DcpCounters
  claims: Map<string, Delivery>
  reads: ReadSlots
  openingTurns: OpeningTurns
  /** It is gone: nothing of it needs to be kept in mind. */
  onClosed: (producer: Producer) => void
}

export class Producer implements ProducerCore, StreamHost, Controlled {
  readonly user: string
  readonly connectionName: string
  readonly bucket: Bucket
  readonly clock: Clock
  readonly log: Log
  readonly counters: DcpCounters
  readonly lot: ParkingLot
  readonly reaper: Reaper
  readonly form: ConnectionForm
  readonly isAware: boolean
  readonly holder: string
  readonly streams = new Map<number, Stream>()
  readonly opening = new Map<number, StreamOpening>()
  readonly openingTurns: OpeningTurns
  readonly negotiated: Negotiated
  readonly flow = new FlowControl()
  readonly noop: NoopTimer
  readonly outbox: Outbox
  readonly pump: Pump
  readonly turns: ScanTurns
  readonly settings: DcpSettings
  readonly openedAtMs: number
  isClosed = false
  hasStreamed = false
  /** Snapshots resumed since the log was told. */
  resumed = 0
  readonly #options: ProducerOptions
  #deliveries: Deliveries | undefined
  /** Of a connection that is gone. */
  #departure: Departure | undefined
  /** Decided and not answered yet. */
  #decided: StreamOpening[] = []

  constructor(options: ProducerOptions) {
    const { settings, clock, output } = options
    this.#options = options
    this.settings = settings
    this.user = options.user
    this.connectionName = options.name
    this.bucket = options.bucket
    this.clock = clock
    this.log = options.log
    this.counters = options.counters
    this.lot = options.lot
    this.reaper = options.reaper
    this.form = options.form
    this.isAware = options.isAware
    this.holder = options.holder
    this.openingTurns = options.openingTurns
    this.negotiated = {
      markerVersion: MarkerVersion.v1,
      expiryOpcode: false,
      streamEndOnClose: false,
      streamIds: false,
      resume: resumeByDefault(settings),
    }
    this.noop = new NoopTimer(settings.noopIntervalSeconds * 1000)
    this.outbox = new Outbox(output, this.flow)
    const pump = (this.pump = new Pump({
      outbox: this.outbox,
      flow: this.flow,
      slabBytes: settings.backfillSlabBytes,
      heldBytesMax: settings.dcpBufferBytes,
      areOthersServed: () => options.bucket.snapshots.areOthersServed,
      onRoom: () => this.turns.resume(),
      beforeSending: () => this.sendAnswers(),
    }))
    this.turns = new ScanTurns({
      reads: options.reads,
      hasRoomFor: slabs => pump.hasRoomFor(slabs),
      read: scans => options.bucket.snapshots.read(scans, settings.backfillSlabBytes),
    })
    this.openedAtMs = clock.nowMs()
    output.onDrain = () => this.pump.schedule()
  }

  /** undefined: its streams are not resumable. */
  get deliveries(): Deliveries | undefined {
    return this.#deliveries
  }
  get markerVersion(): MarkerVersion {
    return this.negotiated.markerVersion
  }
  get host(): StreamHost {
    return this
  }

  /** DCP_CONTROL. */
  control(key: string, value: string): Status {
    this.#heard()
    const status = control(this, key, value)
    if (status !== Status.success) {
      const refused = `${key.slice(0, shownMax)} = ${value.slice(0, shownMax)}`
      this.log.info({ refused, status }, 'control refused')
    }
    return status
  }

  /** DCP_STREAM_REQ. The first frame of the stream comes behind the answer. */
  streamRequest(request: StreamRequest, asker: StreamAsker): void {
    this.#heard()
    if (this.isClosed) return asker.reply(refusal(Status.temporaryFailure))
    if (!this.hasStreamed) this.#beginStreaming()
    openStream(this, request, asker)
  }

  answered(opening: StreamOpening): void {
    this.#decided.push(opening)
    this.openingTurns.answered(this)
  }

  sendAnswers(): void {
    if (this.#decided.length === 0) return
    const decided = this.#decided
    this.#decided = []
    for (const opening of decided) opening.reply()
  }

  /** DCP_CLOSE_STREAM: nothing of the stream is kept. `streamId` 0: none was given. */
  closeStream(vbid: number, streamId = 0): Status {
    this.#heard()
    if ((streamId !== 0) !== this.negotiated.streamIds) return Status.streamIdInvalid
    const slot = slotOf({ vbid, streamId })
    const stream = this.streams.get(slot)
    if (stream === undefined) return closeOpening(this, slot)
    stream.end(StreamEndReason.closed)
    return Status.success
  }

  /** DCP_BUFFER_ACKNOWLEDGEMENT; it has no answer. */
  bufferAcknowledge(bytes: number): void {
    this.#heard()
    this.flow.acknowledge(bytes)
    this.#deliveries?.confirm()
    this.pump.schedule()
  }

  /** The client has answered a no-op. */
  noopAnswered(opaque: number): void {
    if (!this.noop.answered(opaque, this.clock.monotonicMs())) return
    this.#deliveries?.confirm()
  }

  /** DCP_GET_FAILOVER_LOG. */
  failoverLog(vbid: number): StreamAnswer {
    this.#heard()
    const vbucket = this.bucket.vbucket(vbid)
    if (vbucket === undefined) return refusal(Status.notMyVbucket)
    return { status: Status.success, value: encodeFailoverLog(vbucket.failoverLog.entries) }
  }

  /** The connection is gone; `clean`: the client said QUIT. Idempotent. */
  disconnected(clean: boolean): void {
    this.#leave(clean, false)
  }

  #leave(clean: boolean, isStopping: boolean): void {
    if (this.isClosed) return
    this.isClosed = true
    this.sendAnswers()
    this.pump.close()
    for (const stream of this.streams.values()) stream.end(StreamEndReason.disconnected)
    this.#options.output.onDrain = undefined
    const deliveries = this.#deliveries
    if (clean) deliveries?.releaseAll(ReleaseCause.quit)
    if (clean || deliveries === undefined) return this.#left()
    const onParked = () => this.#left()
    this.#departure = new Departure({ producer: this, deliveries, isStopping, onParked })
  }

  #left(): void {
    this.counters.sentBytesBefore += this.flow.sentBytes
    this.#options.onClosed(this)
  }

  /** Another connection takes the place of this one. */
  takenOver(): void {
    this.disconnected(false)
    this.#options.output.close('another connection has opened with this name')
  }

  /** The daemon stops: every stream is ended with its reason, what may be resumed stays held. */
  shutDown(): void {
    if (this.isClosed) return this.#departure?.finish()
    for (const stream of this.streams.values()) {
      this.#finish(stream, StreamEndReason.disconnected)
    }
    this.pump.flushEnds()
    this.#leave(false, true)
  }

  /** Its bucket is being deleted: there is nothing left to ask this connection for. */
  bucketDeleted(): void {
    this.endAll(StreamEndReason.disconnected, ReleaseCause.bucketDeleted)
    if (this.isClosed) return this.#departure?.finish()
    this.pump.flushEnds()
    this.disconnected(true)
    this.#options.output.close('its bucket has been deleted')
  }

  /** Drives what depends on time. */
  tick(): void {
    if (this.isClosed) return
    const nowMs = this.clock.monotonicMs()
    const due = this.noop.due(nowMs, this.streams.size > 0)
    if (due === 'dead') {
      this.log.warn({ intervalMs: this.noop.intervalMs }, 'client does not answer: closing')
      this.disconnected(false)
      this.#options.output.close('no answer to a no-op')
      return
    }
    if (due === 'send') this.pump.sendNoop(this.noop.sent(nowMs, this.flow.sentBytes))
    if (this.resumed > 0) this.log.info({ snapshots: this.resumed }, 'parked snapshots resumed')
    this.resumed = 0
    this.#deliveries?.confirm()
    this.pump.schedule()
  }

  /** A vbucket has changed its state, its history, or is gone: ends what may not go on. */
  vbucketChanged(vbid: number): void {
    for (const stream of this.#streamsOf(vbid)) {
      const end = endNow(stream, this.bucket)
      if (end !== undefined) this.#finish(stream, end.reason, end.cause)
    }
  }

  /** Collections have been made or dropped; `dropped` are the ids that are gone. */
  manifestChanged(dropped: readonly number[]): void {
    for (const stream of this.streams.values()) stream.manifestChanged(dropped)
  }

  /** The client holds a snapshot that the disk can no longer afford, and makes no progress. */
  tooSlow(stream: Stream): void {
    stream.end(StreamEndReason.slow)
  }

  /** All vbuckets are being emptied. */
  endAll(reason: StreamEndReason, cause: ReleaseCause): void {
    for (const stream of this.streams.values()) this.#finish(stream, reason, cause)
    this.#deliveries?.releaseAll(cause)
  }

  wake(stream: Stream): void {
    if (!this.isClosed) this.pump.wake(stream)
  }

  sent(stream: Stream, progress: Progress): void {
    this.#deliveries?.sent(stream.slot, progress)
  }

  ended(stream: Stream): void {
    const { slot } = stream
    const reason = stream.endReason!
    this.streams.delete(slot)
    this.pump.forget(stream)
    if (this.isClosed) return
    this.counters.streamEnded(stream.describeEnd())
    logEnd(this.log, stream)
    const cause = causeOf(reason)
    if (cause !== undefined) this.#deliveries?.release(slot, cause)
    else if (reason !== StreamEndReason.disconnected) this.#deliveries?.finish(slot)
    const isAnnounced = reason !== StreamEndReason.closed || this.negotiated.streamEndOnClose
    if (isAnnounced) this.pump.announce(stream)
  }

  prepareBackfill(stream: Stream, atLeastSeqno: number): Promise<BackfillPlan | StreamEndReason> {
    return pinForReturn(this, stream, atLeastSeqno)
  }

  #beginStreaming(): void {
    this.hasStreamed = true
    this.#deliveries = deliveriesOf(this, this.#options.claims)
  }

  #heard(): void {
    this.noop.heard(this.clock.monotonicMs())
  }

  #finish(stream: Stream, reason: StreamEndReason, cause?: ReleaseCause): void {
    if (cause !== undefined) this.#deliveries?.release(stream.slot, cause)
    stream.end(reason)
  }

  #streamsOf(vbid: number): Stream[] {
    if (this.negotiated.streamIds) {
      return [...this.streams.values()].filter(stream => stream.vbid === vbid)
    }
    const stream = this.streams.get(slotOf({ vbid, streamId: 0 }))
    return stream === undefined ? [] : [stream]
  }
}
