/** What is told about streams and parked snapshots: statistics groups and figures for metrics. */
import type { Bucket } from '../vbucket/bucket.ts'
import type { DcpCounters } from './counters.ts'
import type { HeldSnapshot } from './parking/held-snapshot.ts'
import type { ParkingLot } from './parking/parking-lot.ts'
import type { Producer } from './producer.ts'

/** Of parked snapshots that are gone, so many are told of, the newest. */
const epitaphsTold = 256

export type AddStatistic = (key: string, value: string | number) => void

/** The parts of the service that are reported on. */
export interface Reported {
  readonly counters: DcpCounters
  readonly lot: ParkingLot
  readonly producers: ReadonlySet<Producer>
}

export interface StreamFigures {
  bucket: string
  connection: string
  vbid: number
  phase: string
  sentSeqno: number
  highSeqno: number
}

export interface DcpFigures {
  connections: number
  streamsBackfilling: number
  streamsInMemory: number
  /** Changes that open streams have still to send, superseded ones counted too. */
  itemsRemaining: number
  unackedBytes: number
  queuedBytes: number
  sentBytes: number
  parkedSnapshots: number
  parkedVbuckets: number
  parkedOldestSeconds: number
  /** Kept for clients that have them and may ask again from within. */
  receivedSnapshots: number
  pinnedBytes: number
  counters: DcpCounters
  streams(): Generator<StreamFigures>
}

export function dcpFigures(reported: Reported, nowMs: number): DcpFigures {
  const { producers, counters, lot } = reported
  const streams = () => streamFigures(producers)
  const figures: DcpFigures = {
    connections: producers.size,
    streamsBackfilling: 0,
    streamsInMemory: 0,
    itemsRemaining: 0,
    unackedBytes: 0,
    queuedBytes: 0,
    sentBytes: counters.sentBytesBefore,
    ...parkedFigures([...lot.parked], nowMs),
    receivedSnapshots: lot.received.size,
    counters,
    streams,
  }
  for (const { phase, sentSeqno, highSeqno } of streams()) {
    if (phase === 'backfilling') figures.streamsBackfilling++
    else figures.streamsInMemory++
    figures.itemsRemaining += Math.max(0, highSeqno - sentSeqno)
  }
  for (const { flow, outbox } of producers) {
    figures.unackedBytes += flow.unackedBytes
    figures.sentBytes += flow.sentBytes
    figures.queuedBytes += outbox.queuedBytes
  }
  return figures
}

function* streamFigures(producers: Iterable<Producer>): Generator<StreamFigures> {
  for (const { bucket, connectionName: connection, streams } of producers) {
    for (const { vbid, phase, cursor: sentSeqno, vbucket } of streams.values()) {
      const { highSeqno } = vbucket
      yield { bucket: bucket.name, connection, vbid, phase, sentSeqno, highSeqno }
    }
  }
}

function parkedFigures(parked: readonly HeldSnapshot[], nowMs: number) {
  const buckets = new Set(parked.map(({ bucket }) => bucket))
  let pinnedBytes = 0
  for (const { snapshots } of buckets) pinnedBytes += snapshots.pinnedBytes()
  const since = parked.reduce((oldest, { parkedAtMs }) => Math.min(oldest, parkedAtMs!), nowMs)
  return {
    parkedSnapshots: parked.length,
    parkedVbuckets: new Set(parked.map(({ client, vbid }) => `${client} ${vbid}`)).size,
    parkedOldestSeconds: (nowMs - since) / 1000,
    pinnedBytes,
  }
}

export function addDcpStatistics(reported: Reported, add: AddStatistic, bucket?: Bucket): void {
  const { producers, counters } = reported
  let count = 0
  for (const producer of producers) {
    if (bucket !== undefined && producer.bucket !== bucket) continue
    count++
    addProducer(producer, add)
  }
  add('ep_dcp_count', count)
  add('ep_dcp_producer_count', count)
  add('ep_dcp_streams_opened', counters.streamsOpened)
  add('ep_dcp_rollbacks', counters.rollbacks)
  add('ep_dcp_backfills', counters.backfillsStarted)
  for (const [reason, ends] of counters.streamsEnded) add(`ep_dcp_streams_ended:${reason}`, ends)
}

function addProducer(producer: Producer, add: AddStatistic): void {
  const { connectionName, flow, noop, streams, pump, turns, negotiated } = producer
  const say = (key: string, value: string | number) =>
    add(`eq_dcpq:${connectionName}:${key}`, value)
  say('type', 'producer')
  say('created', Math.floor(producer.openedAtMs / 1000))
  say('user', producer.user)
  say('max_buffer_bytes', flow.window)
  say('unacked_bytes', flow.unackedBytes)
  say('total_bytes_sent', flow.sentBytes)
  say('queued_bytes', producer.outbox.queuedBytes)
  say('paused', pump.blockedBy === undefined ? 'false' : 'true')
  say('paused_reason', pump.blockedBy ?? '')
  say('priority', pump.priority)
  say('noop_enabled', String(noop.enabled))
  say('noop_tx_interval', noop.intervalMs / 1000)
  say('backfill_order', turns.order)
  say('backfill_resume', negotiated.resume.kind)
  say('num_streams', streams.size)
  for (const stream of streams.values()) {
    const { streamId } = stream.options.scope
    const prefix = `stream_${stream.vbid}${streamId === 0 ? '' : `_sid_${streamId}`}`
    const delivery = producer.deliveries?.of(stream.slot)
    say(`${prefix}_state`, stream.phase)
    say(`${prefix}_opaque`, stream.opaque)
    say(`${prefix}_start_seqno`, stream.openedSeqno)
    say(`${prefix}_last_sent_seqno`, stream.cursor)
    say(`${prefix}_last_sent_snap_end_seqno`, stream.snapshotEnd)
    say(`${prefix}_backfills`, stream.backfills)
    say(`${prefix}_bytes`, stream.sentBytes)
    if (delivery !== undefined) say(`${prefix}_known_seqno`, delivery.knownSeqno)
  }
}

export function addParkedStatistics(
  reported: Reported,
  add: AddStatistic,
  nowMs: number,
  bucket?: Bucket,
): void {
  const { counters, lot } = reported
  const isOurs = (held: HeldSnapshot) => bucket === undefined || held.bucket === bucket
  const parked = [...lot.parked].filter(isOurs)
  const figures = parkedFigures(parked, nowMs)
  add('parked_snapshots', figures.parkedSnapshots)
  add('parked_vbuckets', figures.parkedVbuckets)
  add('parked_oldest_seconds', Math.floor(figures.parkedOldestSeconds))
  add('received_snapshots', [...lot.received].filter(isOurs).length)
  add('pinned_bytes', figures.pinnedBytes)
  add('parked_total', counters.parked)
  add('resumed', counters.resumed)
  add('taken_over', counters.takenOver)
  add('bytes_not_sent_again', counters.bytesNotSentAgain)
  for (const [cause, count] of Object.entries(counters.expired)) add(`expired:${cause}`, count)
  for (const held of parked) {
    const prefix = `${held.client}:vb_${held.vbid}`
    add(`${prefix}:snapshot`, `${held.snapshotStart}..${held.snapshotEnd}`)
    add(`${prefix}:sent_seqno`, held.sentSeqno)
    add(`${prefix}:known_seqno`, held.knownSeqno)
    add(`${prefix}:expires_in_seconds`, Math.ceil((held.deadlineMs - nowMs) / 1000))
  }
  let told = 0
  for (const { client, vbid, cause, atMs, ...epitaph } of lot.epitaphs()) {
    if (bucket !== undefined && epitaph.bucket !== bucket) continue
    if (++told > epitaphsTold) break
    const bounds = `${epitaph.snapshotStart}..${epitaph.snapshotEnd}`
    const agoSeconds = Math.round((nowMs - atMs) / 1000)
    add(`${client}:vb_${vbid}:gone`, `${bounds} ${agoSeconds} s ago: ${cause}`)
  }
}
