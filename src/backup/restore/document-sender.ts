import { Status } from '../../../protocol/status.ts'
import { WithMetaOption } from '../../../protocol/commands/index.ts'
import type { Frame } from '../../../protocol/frame.ts'
import type { Clock } from '../../clock.ts'
import { Backoff, ServerError, type KvClient } from '../../client/index.ts'
import type { Random } from '../../random.ts'
import type { ArchiveRecord } from '../archive/record.ts'
import { isConnectionLoss } from '../connect.ts'
import { BackupError } from '../errors.ts'
import { pause } from '../pause.ts'
import type { Throttle } from '../throttle.ts'
import type { CollectionRoutes } from './collection-routes.ts'
import { vbucketsText } from './node-map.ts'
import { RequestBatch } from './request-batch.ts'
import type { RestoreTarget } from './restore-target.ts'

export interface SendResult {
  applied: number
  /** The bucket has the same or a newer version. */
  skipped: number
}

export interface SenderOptions {
  target: RestoreTarget
  routes: CollectionRoutes
  /** Whatever the bucket has. */
  force: boolean
  /** Of changes. */
  changes?: Throttle | undefined
  clock: Clock
  random: Random
  signal: AbortSignal
}

/** In a row, without anything coming through: about half a minute. */
const attemptsMax = 12

const Outcome = { open: 0, applied: 1, skipped: 2 } as const

interface Failure {
  readonly place: number
  readonly error: Error
}

/** One node, and what it is to be sent. */
interface Lane {
  readonly batch: RequestBatch
  client: KvClient | undefined
}

/**
 * Sends records to a bucket, over one connection to each of its nodes. What is handed over together is
 * on its way together, each key's changes in their order. Those that fail in a way that may pass
 * are sent again, with all later ones of the same keys: a later version is never overtaken by an
 * earlier one, whatever the bucket makes of conflicts.
 */
export class DocumentSender {
  readonly #options: SenderOptions
  readonly #withMetaOptions: number
  readonly #lanes: Lane[] = []

  constructor(options: SenderOptions) {
    this.#options = options
    this.#withMetaOptions =
      (options.force ? WithMetaOption.skipConflictResolution : 0) |
      (options.target.resolvesByTime ? WithMetaOption.forceAccept : 0)
  }

  /** Of collections that have a route. When it resolves the bucket has all, in memory at least. */
  async send(records: readonly ArchiveRecord[], result: SendResult): Promise<void> {
    const { clock, random, signal, changes } = this.#options
    if (records.length === 0) return
    await changes?.take(records.length, signal)
    const backoff = new Backoff(random, { firstMs: 20, maxMs: 5_000 })
    const outcomes = new Uint8Array(records.length)
    let places = records.map((_, place) => place)
    for (;;) {
      signal.throwIfAborted()
      const failures = await this.#attempt(records, places, outcomes)
      if (failures.length === 0) break
      if (failures.length < places.length) backoff.reset()
      this.#throwLasting(records, failures, backoff.attempts)
      places = withFollowers(records, places, failures)
      await pause(clock, backoff.nextMs(), signal)
      if (failures.some(({ error }) => retryOf(error) === 'after-map')) await this.#refresh()
    }
    for (const outcome of outcomes) {
      if (outcome === Outcome.applied) result.applied++
      else result.skipped++
    }
  }

  /** Drops its connections; what is on its way comes to nothing. */
  close(): void {
    for (const { client } of this.#lanes.splice(0)) client?.destroy()
  }

  async #attempt(
    records: readonly ArchiveRecord[],
    places: readonly number[],
    outcomes: Uint8Array,
  ): Promise<Failure[]> {
    const { target, routes } = this.#options
    for (const place of places) {
      const record = records[place]!
      const vbid = target.vbucketOf(record.key)
      const prefix = routes.prefixOf(record.collectionId)!
      this.#lane(target.nodeOf(vbid)).batch.add(record, place, vbid, prefix)
    }
    const failures: Failure[] = []
    await Promise.all(
      this.#lanes.map((lane, node) => this.#sendBatch(lane, node, outcomes, failures)),
    )
    return failures.sort((one, other) => one.place - other.place)
  }

  async #sendBatch(
    lane: Lane,
    node: number,
    outcomes: Uint8Array,
    failures: Failure[],
  ): Promise<void> {
    const { batch } = lane
    const { places } = batch
    if (places.length === 0) return
    let answered = 0
    const visit = (frame: Frame) => {
      const place = places[answered++]!
      // What was applied in front of a lost answer would be there already.
      if (frame.status === Status.success) outcomes[place] = Outcome.applied
      else if (frame.status !== Status.keyExists)
        failures.push({ place, error: ServerError.from(frame) })
      else if (outcomes[place] === Outcome.open) outcomes[place] = Outcome.skipped
    }
    try {
      if (!lane.client?.isOpen) lane.client = await this.#options.target.connect(node)
      await lane.client.sendBatch(batch.bytes, visit)
      batch.clear()
    } catch (error) {
      for (const place of places.slice(answered)) failures.push({ place, error: error as Error })
      lane.client?.destroy()
      batch.abandon()
    }
  }

  #lane(node: number): Lane {
    while (this.#lanes.length <= node)
      this.#lanes.push({ batch: new RequestBatch(this.#withMetaOptions), client: undefined })
    return this.#lanes[node]!
  }

  /** The map may be of nodes in another order: connections of the old one lead elsewhere. */
  async #refresh(): Promise<void> {
    try {
      if (await this.#options.target.refresh()) this.close()
    } catch (error) {
      // The next attempt tells what is wrong, and is bounded.
      if (!mayPass(error as Error)) throw error
    }
  }

  #throwLasting(
    records: readonly ArchiveRecord[],
    failures: readonly Failure[],
    attempts: number,
  ): void {
    const lasting = failures.find(({ error }) => !mayPass(error))
    if (lasting) throw this.#describe(records[lasting.place]!, lasting.error)
    if (attempts < attemptsMax) return
    const [{ place, error }] = failures as [Failure]
    throw this.#describe(records[place]!, error)
  }

  /** Keys are in no message: the seqno names the change. */
  #describe({ key, seqno }: ArchiveRecord, error: Error): Error {
    if (!(error instanceof ServerError)) return error
    const { target } = this.#options
    const vbid = target.vbucketOf(key)
    const what =
      error.status === Status.notMyVbucket
        ? `no node serves ${vbucketsText([vbid])} of bucket ${target.address.bucket}`
        : `the bucket does not take the change of seqno ${seqno} into ${vbucketsText([vbid])}`
    return new BackupError('refused', `${what}: ${error.message}`, { cause: error })
  }
}

/** The places to be sent again: those that failed, and later ones of the same keys. */
function withFollowers(
  records: readonly ArchiveRecord[],
  places: readonly number[],
  failures: readonly Failure[],
): number[] {
  const failed = new Set(failures.map(({ place }) => place))
  const keys = new Set<string>()
  return places.filter(place => {
    const { collectionId, key: bytes } = records[place]!
    const key = `${collectionId} ${bytes.toString('latin1')}`
    if (failed.has(place)) keys.add(key)
    return keys.has(key)
  })
}

function retryOf(error: Error): string {
  return error instanceof ServerError ? error.retry : 'never'
}

function mayPass(error: Error): boolean {
  return error instanceof ServerError ? error.retry !== 'never' : isConnectionLoss(error)
}
