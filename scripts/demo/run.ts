/** One run of the main job: copy a bucket over a link that keeps breaking. */
import { DcpClient, KvClient } from '../../src/client/index.ts'
import { FaultyProxy, randomFaults, type FaultPlan } from '../../test/support/faulty-proxy.ts'
import { startDaemon, type DaemonProcess } from '../../test/support/start-daemon.ts'
import { Application, PurgeLoop } from './application.ts'
import { Copy } from './copy.ts'
import type { City } from './cities.ts'
import { readMetrics } from './metrics.ts'
import type { Scope } from './scope.ts'

export interface RunOptions {
  cities: readonly City[]
  backfillResume: boolean
  /** After so many cuts the link holds, so that every run comes to its end. */
  cutsMax: number
  seed: number
  say: (line: string) => void
}

export interface RunFigures {
  documents: number
  cuts: number
  bytesSent: number
  bytesSentTwice: number
  rollbacks: number
  purgeRounds: number
  tombstonesPurged: number
  seconds: number
  /** Documents in which the copy differs from the bucket at the end. */
  differences: number
}

const vbuckets = 64
/** What may be on its way to the client at once, and so is lost when the link is cut. */
const windowBytes = 256 * 1024
const patienceMs = 120_000

/** Everything it starts is ended with the scope. */
export async function run(scope: Scope, options: RunOptions): Promise<RunFigures> {
  const { say, backfillResume } = options
  const flags = ['--vbuckets', String(vbuckets), '--change-log', '1MiB']
  const daemon = await startDaemon(scope, { flags })
  const connect = async () => {
    const kv = await KvClient.connect({ port: daemon.port, bucket: 'default' })
    scope.teardown(async () => kv.destroy())
    return kv
  }
  const application = new Application(await connect(), options.cities)
  await application.load()
  say(`loaded ${application.documents.size.toLocaleString('en')} documents`)

  const control = await connect()
  const atStart = await control.allVbSeqnos()
  const plan = cutting(options.cutsMax)
  const proxy = await FaultyProxy.start({ targetPort: daemon.port, seed: options.seed, plan })
  scope.teardown(() => proxy.close())
  const purger = new PurgeLoop(await connect(), vbuckets)
  application.start(10, 40)
  purger.start()
  const before = await readMetrics(daemon)
  const copy = new Copy()
  const startedMs = performance.now()
  const client = await DcpClient.connect({
    port: proxy.port,
    name: 'warehouse',
    backfillResume,
    bufferBytes: windowBytes,
    reconnect: { firstMs: 20, maxMs: 200 },
    onRollback: vbid => copy.rollBack(vbid),
  })
  scope.teardown(() => client.close())
  const followed = copy.follow(client)
  const progress = () => line({ copy, proxy, purger, client, startedMs })

  // The application rests once all that it had at the start has arrived; then the copy catches up.
  await waitFor(() => copy.hasReached(atStart), progress, say, followed)
  await application.stop()
  const atEnd = await control.allVbSeqnos()
  await waitFor(() => copy.hasReached(atEnd), progress, say, followed)
  say(progress())
  const seconds = (performance.now() - startedMs) / 1000
  await purger.stop()
  const after = await readMetrics(daemon)
  const { rollbacks } = client.statistics()
  await client.close()
  await followed
  await stopped(daemon)

  const bytesSent = after.sentBytes - before.sentBytes
  return {
    documents: copy.size,
    cuts: proxy.counters.cut,
    bytesSent,
    // What brought nothing new: caught on its way by a cut, or sent again after a rollback.
    bytesSentTwice: bytesSent - copy.usefulBytes,
    rollbacks,
    purgeRounds: purger.rounds,
    tombstonesPurged: after.purged - before.purged,
    seconds,
    differences: copy.differences(application.documents),
  }
}

/** Cuts at random points of every connection, until there were enough. */
function cutting(cutsMax: number): FaultPlan {
  let left = cutsMax
  const draw = randomFaults({ everyBytes: [200_000, 1_000_000], kinds: ['cut'], perConnection: 1 })
  return (connection, random) => {
    const faults = draw(connection, random).slice(0, left)
    left -= faults.length
    return faults
  }
}

async function waitFor(
  isReached: () => boolean,
  progress: () => string,
  say: (line: string) => void,
  followed: Promise<void>,
): Promise<void> {
  const deadlineMs = performance.now() + patienceMs
  let sayAtMs = performance.now()
  let hasEnded = false
  void followed.finally(() => (hasEnded = true)).catch(() => undefined)
  while (!isReached()) {
    if (hasEnded) await followed
    if (performance.now() > deadlineMs) throw new Error(`gave up: ${progress()}`)
    if (performance.now() >= sayAtMs) {
      say(progress())
      sayAtMs += 1000
    }
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

function line(parts: {
  copy: Copy
  proxy: FaultyProxy
  purger: PurgeLoop
  client: DcpClient
  startedMs: number
}): string {
  const { copy, proxy, purger, client, startedMs } = parts
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1).padStart(5)
  const count = copy.size.toLocaleString('en').padStart(7)
  const { rollbacks } = client.statistics()
  return (
    `${seconds} s  ${count} documents copied, ${proxy.counters.cut} cuts, ` +
    `${purger.rounds} purges, ${rollbacks} rollbacks`
  )
}

async function stopped(daemon: DaemonProcess): Promise<void> {
  const code = await daemon.stop()
  if (code !== 0) throw new Error(`the daemon ended with ${code}`)
}
