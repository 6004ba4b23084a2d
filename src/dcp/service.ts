/**
 * All DCP connections of the daemon and the snapshots parked for clients that are away. Finds out
 * who takes over from whom, and passes on what happens to buckets.
 */
import { StreamEndReason } from '../../protocol/dcp/stream-end.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Random } from '../random.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { DcpCounters } from './counters.ts'
import type { Delivery } from './delivery.ts'
import { readOpen } from './open-request.ts'
import { OpeningTurns } from './opening-turns.ts'
import type { DcpOutput } from './output.ts'
import { ReleaseCause } from './parking/held-snapshot.ts'
import { ParkingLot } from './parking/parking-lot.ts'
import { Reaper } from './parking/reaper.ts'
import { Producer } from './producer.ts'
import { ReadSlots } from './read-slots.ts'
import { sharedSeqno } from './rollback.ts'
import type { DcpSettings } from './settings.ts'
import { endSlowStreams } from './slow-streams.ts'
import { addDcpStatistics, addParkedStatistics, dcpFigures } from './statistics.ts'
import type { AddStatistic, DcpFigures } from './statistics.ts'
import { mayRead } from './stream-request.ts'

export interface DcpServiceOptions {
  clock: Clock
  random: Random
  log: Log
  settings: DcpSettings
}

export interface OpenRequest {
  name: string
  user: string
  bucket: Bucket
  /** The client has negotiated collections. */
  isAware: boolean
  /** Of DCP_OPEN. */
  flags: number
  /** Of DCP_OPEN: nothing, or JSON. */
  value: string
  /** The client takes compressed values. Otherwise they are expanded. */
  snappy?: boolean
  output: DcpOutput
  /** For the log. */
  connectionId: number
}

const tickMs = 250
const reapMs = 1000
/** Slabs asked for at the same time, over all connections. */
const readsMax = 16

export class DcpService {
  readonly counters = new DcpCounters()
  readonly lot = new ParkingLot()
  readonly #options: DcpServiceOptions
  readonly #reaper: Reaper
  readonly #producers = new Set<Producer>()
  readonly #reads = new ReadSlots(readsMax)
  readonly #openingTurns: OpeningTurns
  readonly #claims = new Map<string, Delivery>()
  readonly #watched = new WeakSet<Bucket>()
  readonly #timers: Timer[]

  constructor(options: DcpServiceOptions) {
    const { clock, log, settings } = options
    const { lot, counters } = this
    this.#options = options
    this.#openingTurns = new OpeningTurns(clock)
    this.#reaper = new Reaper({ lot, settings, clock, log, counters })
    this.#timers = [
      clock.every(tickMs, () => this.#tick()),
      clock.every(reapMs, () => this.#reap()),
    ]
  }

  get producers(): ReadonlySet<Producer> {
    return this.#producers
  }

  /**
   * DCP_OPEN. Takes over from a connection of the same name, user and bucket at once, whether or
   * not that one is known to be dead. Throws a StatusError for what is not served.
   */
  open(request: OpenRequest): Producer {
    const { name, user, bucket, isAware, flags, value, snappy, output, connectionId } = request
    const { clock, settings, random } = this.#options
    const form = readOpen(name, flags, value, settings.connectionNameBytesMax, snappy)
    for (const other of this.#producersOf(bucket)) {
      if (other.isClosed || other.connectionName !== name || other.user !== user) continue
      other.log.info({ by: connectionId }, 'taken over by a new connection')
      this.counters.takenOver++
      other.takenOver()
    }
    this.#watch(bucket)
    const log = this.#options.log.child({ connection: connectionId, dcp: name })
    const producer = new Producer({
      name,
      user,
      bucket,
      isAware,
      form,
      output,
      holder: `stream ${random.uint64().toString(16)}`,
      settings,
      clock,
      log,
      lot: this.lot,
      reaper: this.#reaper,
      counters: this.counters,
      claims: this.#claims,
      reads: this.#reads,
      openingTurns: this.#openingTurns,
      onClosed: closed => this.#producers.delete(closed),
    })
    this.#producers.add(producer)
    this.counters.connectionsOpened++
    log.info({ bucket: bucket.name, flags }, 'stream connection opened')
    return producer
  }

  /** The statistics groups `dcp` and `parked` of a bucket. */
  stats(add: AddStatistic, group: 'dcp' | 'parked', bucket?: Bucket): void {
    if (group === 'dcp') addDcpStatistics(this, add, bucket)
    else addParkedStatistics(this, add, this.#options.clock.nowMs(), bucket)
  }

  /** For the metrics page. */
  figures(): DcpFigures {
    return dcpFigures(this, this.#options.clock.nowMs())
  }

  /**
   * Ends all streams; before the buckets are closed. Purge holds stay, and their grace begins
   * with the next start, so that clients find what they need however long that takes.
   */
  close(): void {
    for (const timer of this.#timers) timer.cancel()
    for (const producer of this.#producers) producer.shutDown()
    this.#openingTurns.close()
    const nowMs = this.#options.clock.nowMs()
    for (const held of this.lot.all()) this.lot.release(held, ReleaseCause.shutdown, nowMs)
  }

  #tick(): void {
    for (const producer of this.#producers) producer.tick()
  }

  #reap(): void {
    const { settings, clock } = this.#options
    this.#reaper.reap()
    endSlowStreams(this.#producers, settings, clock.monotonicMs())
  }

  #watch(bucket: Bucket): void {
    if (this.#watched.has(bucket)) return
    this.#watched.add(bucket)
    const { events } = bucket
    events.on('state', vbid => this.#vbucketChanged(bucket, vbid))
    events.on('failover-log', vbid => this.#vbucketChanged(bucket, vbid))
    events.on('vbucket-deleted', vbid => this.#vbucketChanged(bucket, vbid))
    events.on('manifest', dropped => {
      for (const producer of this.#producersOf(bucket)) producer.manifestChanged(dropped)
    })
    events.on('flushed', () => {
      for (const producer of this.#producersOf(bucket)) {
        producer.endAll(StreamEndReason.rollback, ReleaseCause.flushed)
      }
      this.#releaseAll(bucket, ReleaseCause.flushed)
    })
    events.on('deleted', () => {
      for (const producer of this.#producersOf(bucket)) producer.bucketDeleted()
      this.#releaseAll(bucket, ReleaseCause.bucketDeleted)
    })
  }

  #vbucketChanged(bucket: Bucket, vbid: number): void {
    for (const producer of this.#producersOf(bucket)) producer.vbucketChanged(vbid)
    const nowMs = this.#options.clock.nowMs()
    for (const held of this.lot.of(bucket, vbid)) {
      const vbucket = bucket.vbucket(vbid)
      const isReadable = vbucket !== undefined && mayRead(vbucket, held.activeOnly)
      const shared =
        vbucket &&
        sharedSeqno(held.uuid, {
          failoverLog: vbucket.failoverLog.entries,
          highSeqno: vbucket.highSeqno,
        })
      if (!isReadable) this.lot.release(held, ReleaseCause.state, nowMs)
      else if (shared === undefined || shared < held.snapshotEnd) {
        this.lot.release(held, ReleaseCause.history, nowMs)
      }
    }
  }

  #releaseAll(bucket: Bucket, cause: ReleaseCause): void {
    const nowMs = this.#options.clock.nowMs()
    for (const held of this.lot.of(bucket)) this.lot.release(held, cause, nowMs)
  }

  #producersOf(bucket: Bucket): Producer[] {
    return [...this.#producers].filter(producer => producer.bucket === bucket)
  }
}
