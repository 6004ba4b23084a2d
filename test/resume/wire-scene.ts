import { join } from 'node:path'
import type { Test } from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'
import { metric } from './metric.ts'
import { until } from './until.ts'
import { WireConsumer, type WireOptions } from './wire-consumer.ts'

export interface WireSceneOptions {
  flags?: readonly string[]
  vbuckets: number
  /** Further buckets, loaded like `default`. */
  buckets?: readonly string[]
  /** In each vbucket, before every tenth is deleted. */
  documents?: number
  valueBytes?: number
  /** The password of the user `admin`, if one has to log in. */
  adminPassword?: string
}

/**
 * A daemon with documents and tombstones in every vbucket, all of them on disk only: it has been
 * started anew since they were written, so that a stream from the beginning is a backfill.
 *
 * In each vbucket seqnos up to `documents` are documents, the tenth that follow are tombstones.
 */
export class WireScene {
  readonly documents: number
  readonly tombstones: number
  /** High seqno of every vbucket at the start. */
  readonly end: number
  /** Frames that a stream from the beginning brings. */
  readonly records: number
  readonly daemon: DaemonProcess
  readonly kv: KvClient
  readonly #valueBytes: number

  static async make(t: Test, options: WireSceneOptions): Promise<WireScene> {
    const data = join(t.testdir(), 'data')
    const flags = ['--vbuckets', String(options.vbuckets), '--change-log', '1MiB']
    // What a test has written is soon out of memory, so that streams read it from disk.
    flags.push('--commit-interval', '0')
    flags.push(...(options.flags ?? []))
    const { adminPassword: password } = options
    const secured = password !== undefined
    const environment = secured ? { HOLDFAST_ADMIN_PASSWORD: password } : {}
    const credentials = secured ? { credentials: { username: 'admin', password } } : {}
    const first = await startDaemon(t, { data, flags, environment })
    const { documents = 400, valueBytes = 1000 } = options
    for (const bucket of ['default', ...(options.buckets ?? [])]) {
      const kv = await KvClient.connect({ port: first.port, bucket: 'default', ...credentials })
      if (bucket !== 'default') {
        await kv.createBucket(bucket, 'flush_enabled=true')
        await kv.selectBucket(bucket)
      }
      for (let vbid = 0; vbid < options.vbuckets; vbid++) {
        await load(kv, vbid, documents, valueBytes)
      }
      await kv.close()
    }
    await first.stop()
    const daemon = await startDaemon(t, { data, flags })
    const kv = await KvClient.connect({ port: daemon.port, bucket: 'default', ...credentials })
    t.teardown(() => kv.destroy())
    return new WireScene({ daemon, kv, documents, valueBytes })
  }

  private constructor(parts: {
    daemon: DaemonProcess
    kv: KvClient
    documents: number
    valueBytes: number
  }) {
    this.daemon = parts.daemon
    this.kv = parts.kv
    this.documents = parts.documents
    this.#valueBytes = parts.valueBytes
    this.tombstones = Math.floor(parts.documents / 10)
    this.end = this.documents + this.tombstones
    this.records = this.documents
  }

  /** A consumer that is gone when the test ends. */
  async open(
    t: Test,
    options: Omit<WireOptions, 'port'> & { port?: number },
  ): Promise<WireConsumer> {
    const consumer = await WireConsumer.open({ port: this.daemon.port, ...options })
    t.teardown(() => consumer.drop())
    return consumer
  }

  /** New versions, of the first documents first. */
  async update(vbid: number, count: number): Promise<void> {
    const value = Buffer.alloc(this.#valueBytes, 'u')
    const keys = Array.from({ length: count }, (_, i) => keyOf(i % this.documents))
    await inBatches(keys, key => this.kv.set(key, value, { vbid }))
  }

  /**
   * New versions of all documents again and again. By time, not by rounds: how many commits some
   * rounds take depends on the machine, as commits that nobody waits for are put off.
   */
  async updateUntil(vbid: number, condition: () => Promise<boolean>): Promise<void> {
    const updated = async () => {
      if (await condition()) return true
      await this.update(vbid, this.documents)
      return false
    }
    await until(updated, `what updates of vbucket ${vbid} bring about`, 60_000)
  }

  /** The server has noticed that no stream client is connected, and parked what they left. */
  async untilGone(): Promise<void> {
    await until(async () => (await this.kv.stats('dcp')).get('ep_dcp_count') === '0', 'gone')
  }

  /** Deletes documents that were not deleted yet, from the last on. */
  async delete(vbid: number, count: number): Promise<void> {
    const keys = Array.from({ length: count }, (_, i) => keyOf(this.documents - 1 - 10 * i))
    await inBatches(keys, key => this.kv.remove(key, { vbid }))
  }

  /** Purges all that may go of a vbucket; returns its purge seqno. */
  async purge(vbid: number, kv = this.kv): Promise<number> {
    await kv.compact(vbid, { dropDeletes: true })
    const seqnos = await kv.stats(`vbucket-seqno ${vbid}`)
    return Number(seqnos.get(`vb_${vbid}:purge_seqno`))
  }

  async parked(): Promise<Record<string, string>> {
    return Object.fromEntries(await this.kv.stats('parked'))
  }

  /** LMDB read transactions that snapshots hold. */
  async pins(): Promise<number> {
    return (await metric(this.daemon))('holdfast_pinned_snapshots')
  }

  /** Waits until so many snapshots are parked. */
  async untilParked(count: number): Promise<void> {
    await until(
      async () => (await this.parked())['parked_snapshots'] === String(count),
      `${count} snapshots parked`,
    )
  }

  /** Waits until everything of a stream has been handed to the kernel. */
  async untilAllSent(name: string, vbid: number, seqno: number): Promise<void> {
    await until(async () => {
      const stats = await this.kv.stats('dcp')
      const of = (key: string) => stats.get(`eq_dcpq:${name}:${key}`)
      return of(`stream_${vbid}_last_sent_seqno`) === String(seqno) && of('queued_bytes') === '0'
    }, `everything sent to ${name}`)
  }

  /** Lines of the daemon's log with this message. */
  logged(message: string): Record<string, unknown>[] {
    return this.daemon.stderr
      .map(line => JSON.parse(line) as Record<string, unknown>)
      .filter(line => line['msg'] === message)
  }
}

function keyOf(index: number): string {
  return `key-${index}`
}

async function load(kv: KvClient, vbid: number, documents: number, valueBytes: number) {
  const value = Buffer.alloc(valueBytes, 'v')
  const keys = Array.from({ length: documents }, (_, index) => keyOf(index))
  await inBatches(keys, key => kv.set(key, value, { vbid }))
  const every10th = keys.filter((_, index) => index % 10 === 0)
  await inBatches(every10th, key => kv.remove(key, { vbid }))
}

async function inBatches(keys: readonly string[], run: (key: string) => Promise<unknown>) {
  for (let first = 0; first < keys.length; first += 500) {
    await Promise.all(keys.slice(first, first + 500).map(run))
  }
}
