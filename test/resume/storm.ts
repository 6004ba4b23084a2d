/**
 * The main job under the worst of circumstances: a bucket is streamed over a link that breaks at
 * random points, while documents are updated and deleted and tombstones purged all the time.
 */
import type { Test } from 'tap'
import { DcpClient, KvClient, type DcpClientOptions } from '../../src/client/index.ts'
import {
  FaultyProxy,
  randomFaults,
  seededRandom,
  type FaultPlan,
  type FaultKind,
} from '../support/faulty-proxy.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'
import { Copy } from './copy.ts'
import { metric } from './metric.ts'
import { until } from './until.ts'
import { Workload } from './workload.ts'

export interface StormOptions {
  seed: number
  flags?: readonly string[]
  client?: Partial<DcpClientOptions>
  /** How often the link breaks; later connections are left alone, so that the stream ends. */
  faults: number
  keys?: number
  /** Makes the consumer slow. */
  idleMs?: number
}

export interface StormResult {
  /** Where the copy is not what it should be; empty when all is well. */
  differences: string[]
  /** What the stream did that no stream may do. */
  problems: string[]
  documents: number
  changes: number
  snapshots: number
  /** Times the link was broken, by kind. */
  faults: Record<FaultKind, number>
  connections: number
  /** As the client and the server count them. */
  rollbacks: { client: number; server: number }
  /** Completed rounds of the purger over all vbuckets, and the tombstones it removed. */
  purges: { rounds: number; tombstones: number }
  /** How often a purge had passed what the client had by then, of a snapshot it was within. */
  overtaken: number
  backfills: number
  bytes: {
    /** Of stream frames, as the server counts them. */
    sent: number
    /** Of these, what did not bring the client anything new. */
    sentTwice: number
    /** At most, of what was sent and never reached the client: in flight when a link broke. */
    lost: number
    /** Of changes that the client received although it had received them before. */
    receivedAgain: number
  }
  parked: ReadonlyMap<string, string>
  /** What the log says of rollbacks. */
  reasons: string[]
}

export const vbuckets = 16
const streamFlags = [
  ['--vbuckets', String(vbuckets)],
  // So that what is streamed comes from disk, and comes in small pieces of many vbuckets at once.
  ['--change-log', '1MiB'],
  ['--backfill-slab', '32KiB'],
].flat()

const valueBytes = [40, 400] as const
/** The longest frame of a change. */
export const frameBytesMax = 24 + 31 + 32 + valueBytes[1]

/** At most of answers on one connection: to HELLO and so on, and to each stream request. */
const answerBytesMax = 1024 + vbuckets * (24 + 16 * 8)

export async function storm(t: Test, options: StormOptions): Promise<StormResult> {
  const random = seededRandom(options.seed)
  const daemon = await startDaemon(t, { flags: [...streamFlags, ...(options.flags ?? [])] })
  const kv = await KvClient.connect({ port: daemon.port, bucket: 'default' })
  t.teardown(() => kv.destroy())
  const { keys = 24_000 } = options
  const workload = new Workload({ kv, random, keys, valueBytes })
  await workload.load()
  await workload.delete(Math.floor(keys / 8))
  await persisted(kv)

  const proxy = await FaultyProxy.start({ targetPort: daemon.port, seed: options.seed })
  proxy.plan = stormPlan(proxy, options.faults)
  t.teardown(() => proxy.close())
  const copy = new Copy(options)
  const client = await DcpClient.connect({
    name: 'storm',
    reconnect: { firstMs: 1, maxMs: 20 },
    noopIntervalSeconds: 0.5,
    onRollback: vbid => copy.rollBack(vbid),
    ...options.client,
    port: proxy.port,
  })
  t.teardown(() => client.close())
  const followed = copy.follow(client)
  const purger = new PurgeLoop(daemon.port, client)
  t.teardown(() => purger.stop())
  await purger.start()
  workload.start(150, 20)
  const broken = () => faultCount(proxy) >= options.faults
  await Promise.race([until(broken, 'the link broken as often as planned', 50_000), followed])
  await workload.stop()

  const highSeqnos = await kv.allVbSeqnos()
  await Promise.race([
    until(() => copy.hasReached(highSeqnos), 'everything received', 20_000),
    followed,
  ])
  await purger.stop()
  const statistics = client.statistics()
  const figures = await serverFigures(daemon, kv)
  await client.close()
  await followed
  return summary({ copy, workload, proxy, purger, statistics, figures })
}

/** Hard breaks and stalls at random points of every connection, until there were enough. */
function stormPlan(proxy: FaultyProxy, faults: number): FaultPlan {
  const draw = randomFaults({
    everyBytes: [1, 160_000],
    kinds: ['cut', 'cut', 'half-open', 'stall'],
    perConnection: 4,
    durationMs: [1, 40],
  })
  return (connection, random) => {
    const left = faults - faultCount(proxy)
    const due = draw(connection, random).slice(0, Math.max(0, left))
    // Without a break there would be no next connection to have the others.
    if (due.length < left && due.at(-1)!.kind === 'stall') due.at(-1)!.kind = 'cut'
    // The client gives up when its very first connection fails, so that one gets as far as this.
    if (connection === 0) for (const fault of due) fault.afterBytes! += answerBytesMax
    // A link that stands still for longer than the client believes in it.
    if (connection % 16 === 15 && due[0]?.kind === 'stall') due[0].durationMs = 1_500
    return due
  }
}

function faultCount({ counters }: FaultyProxy): number {
  return counters.cut + counters['half-open'] + counters.stall + counters.trickle
}

/** Drops every tombstone that may go, over and over. */
class PurgeLoop {
  rounds = 0
  overtaken = 0
  readonly #port: number
  readonly #client: DcpClient
  #kv: KvClient | undefined
  #running: Promise<void> | undefined
  #stopped = false

  constructor(port: number, client: DcpClient) {
    this.#port = port
    this.#client = client
  }

  async start(): Promise<void> {
    this.#kv = await KvClient.connect({ port: this.#port, bucket: 'default' })
    this.#running = this.#run(this.#kv)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
    this.#kv?.destroy()
  }

  async #run(kv: KvClient): Promise<void> {
    while (!this.#stopped) {
      const all = Array.from({ length: vbuckets }, (_, vbid) => vbid)
      await Promise.all(all.map(vbid => kv.compact(vbid, { dropDeletes: true })))
      const seqnos = await kv.stats('vbucket-seqno')
      for (const { vbid, seqno, snapshotStart, snapshotEnd } of this.#client.state().vbuckets) {
        const purgeSeqno = Number(seqnos.get(`vb_${vbid}:purge_seqno`))
        const isWithin = snapshotStart < seqno && seqno < snapshotEnd
        if (isWithin && seqno < purgeSeqno) this.overtaken++
      }
      this.rounds++
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  }
}

async function persisted(kv: KvClient): Promise<void> {
  const highSeqnos = await kv.allVbSeqnos()
  await Promise.all([...highSeqnos].map(([vbid, seqno]) => kv.seqnoPersisted(vbid, seqno)))
}

async function serverFigures(daemon: DaemonProcess, kv: KvClient) {
  const page = await metric(daemon)
  return {
    sentBytes: page('holdfast_dcp_sent_bytes_total'),
    rollbacks: page('holdfast_dcp_rollbacks_total'),
    backfills: page('holdfast_dcp_backfills_total'),
    purged: page('holdfast_bucket_purged_total'),
    parked: await kv.stats('parked'),
    reasons: daemon.stderr.filter(line => line.includes('has to roll back')),
  }
}

interface Outcome {
  copy: Copy
  workload: Workload
  proxy: FaultyProxy
  purger: PurgeLoop
  statistics: ReturnType<DcpClient['statistics']>
  figures: Awaited<ReturnType<typeof serverFigures>>
}

function summary({ copy, workload, proxy, purger, statistics, figures }: Outcome): StormResult {
  const { counters } = proxy
  const { cut, stall, trickle, connections } = counters
  return {
    differences: copy.differences(workload.model),
    problems: copy.problems,
    documents: copy.size,
    changes: copy.changes,
    snapshots: copy.snapshots,
    faults: { cut, 'half-open': counters['half-open'], stall, trickle },
    connections,
    rollbacks: { client: statistics.rollbacks, server: figures.rollbacks },
    purges: { rounds: purger.rounds, tombstones: figures.purged },
    overtaken: purger.overtaken,
    backfills: figures.backfills,
    bytes: {
      sent: figures.sentBytes,
      sentTwice: figures.sentBytes - copy.uniqueBytes - copy.otherBytes,
      lost: figures.sentBytes - statistics.bytesReceived + connections * answerBytesMax,
      receivedAgain: copy.repeatedBytes,
    },
    parked: figures.parked,
    reasons: figures.reasons,
  }
}
