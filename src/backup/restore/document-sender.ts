import { WithMetaOption } from '../../../protocol/commands/with-meta.ts'
import { Status } from '../../../protocol/status.ts'
import type { Clock } from '../../clock.ts'
import { Backoff, ClientError, KvClient, ServerError } from '../../client/index.ts'
import type { Random } from '../../random.ts'
import { RecordKind, type ArchiveRecord } from '../archive/record.ts'
import type { BucketAddress } from '../bucket-address.ts'
import { pause } from '../pause.ts'

export interface SendResult {
  applied: number
  /** The bucket has the same or a newer version. */
  skipped: number
}

export interface SenderOptions {
  target: BucketAddress
  /** Whatever the bucket has. */
  force: boolean
  clock: Clock
  random: Random
  signal: AbortSignal
}

/** Requests on their way at a time. */
const windowMax = 512
const windowBytesMax = 4 * 1024 * 1024
const attemptsMax = 12

type Outcome = 'applied' | 'skipped' | { readonly error: Error }

/**
 * Sends records to a bucket over one connection, many on their way at once, each key's in order. When
 * some fail in a way that may pass, or the connection is lost, all from the first of them on are
 * sent again: a later version must never be overtaken by an earlier one.
 */
export class DocumentSender {
  readonly #options: SenderOptions
  readonly #withMetaOptions: number | undefined
  #client: KvClient | undefined

  constructor(options: SenderOptions) {
    this.#options = options
    this.#withMetaOptions = options.force ? WithMetaOption.skipConflictResolution : undefined
  }

  async send(records: readonly ArchiveRecord[], result: SendResult): Promise<void> {
    for (let from = 0; from < records.length;) {
      let to = from
      let bytes = 0
      while (to < records.length && to - from < windowMax && bytes < windowBytesMax) {
        bytes += records[to]!.value.length
        to++
      }
      await this.#sendWindow(records.slice(from, to), result)
      from = to
    }
  }

  async close(): Promise<void> {
    await this.#client?.close()
  }

  async #sendWindow(records: readonly ArchiveRecord[], result: SendResult): Promise<void> {
    const { clock, random, signal } = this.#options
    const backoff = new Backoff(random, { firstMs: 20, maxMs: 5_000 })
    let left = records
    for (;;) {
      signal.throwIfAborted()
      const outcomes = await this.#attempt(left)
      const failed = outcomes.findIndex(outcome => typeof outcome === 'object')
      const done = failed === -1 ? outcomes : outcomes.slice(0, failed)
      result.applied += done.filter(outcome => outcome === 'applied').length
      result.skipped += done.filter(outcome => outcome === 'skipped').length
      if (failed === -1) return
      const { error } = outcomes[failed] as { error: Error }
      if (!mayPass(error) || backoff.attempts >= attemptsMax) throw error
      left = left.slice(failed)
      await pause(clock, backoff.nextMs(), signal)
    }
  }

  async #attempt(records: readonly ArchiveRecord[]): Promise<Outcome[]> {
    let client: KvClient
    try {
      client = await this.#connected()
    } catch (error) {
      return [{ error: error as Error }]
    }
    const sent = records.map(record => this.#sendOne(client, record))
    return await Promise.all(sent)
  }

  async #sendOne(client: KvClient, record: ArchiveRecord): Promise<Outcome> {
    const { key, value, cas, revno, flags, time, datatype, kind } = record
    const isExpiration = kind === RecordKind.expiration ? WithMetaOption.isExpiration : 0
    const bits = (this.#withMetaOptions ?? 0) | isExpiration
    const meta = { cas, revno, flags, expiry: time, datatype, ...(bits ? { options: bits } : {}) }
    try {
      if (kind === RecordKind.mutation) await client.setWithMeta(key, value, meta)
      else await client.deleteWithMeta(key, value.length > 0 ? { ...meta, value } : meta)
      return 'applied'
    } catch (error) {
      if (error instanceof ServerError && error.status === Status.keyExists) return 'skipped'
      return { error: error as Error }
    }
  }

  async #connected(): Promise<KvClient> {
    if (this.#client?.isOpen) return this.#client
    this.#client = await KvClient.connect({ ...this.#options.target, agent: 'holdfast restore' })
    return this.#client
  }
}

function mayPass(error: Error): boolean {
  if (error instanceof ServerError) return error.retry === 'now' || error.retry === 'later'
  if (!(error instanceof ClientError)) return false
  return (
    error.code === 'HOLDFAST_CONNECT' ||
    error.code === 'HOLDFAST_CONNECTION_LOST' ||
    error.code === 'HOLDFAST_TIMEOUT'
  )
}
