import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Benchmark, Context, Outcome } from '../benchmark.ts'
import { benchmarkDaemon, metric, vbucketCount, type Daemon } from '../daemon.ts'
import { DcpClient } from '../dcp-client.ts'
import { beginning } from '../dcp-requests.ts'
import { fill, load } from '../load/load-driver.ts'
import { untilQuiet } from '../process-usage.ts'
import { spreadOf } from '../spread.ts'

const valueBytes = 256
const updatesPerSecond = 2_000

/** The same updates at the same time, at a rate that leaves both of them room. */
const situations = ['without', 'with a parked snapshot'] as const
const moments = ['filled', 'before the release', 'in the end', 'after a start'] as const
type Moment = (typeof moments)[number]

interface Sizes {
  readonly fileBytes: number
  /** Of it, in use. */
  readonly liveBytes: number
}

export const benchmark: Benchmark = {
  name: 'pinned-growth',
  about:
    'Growth of the files under updates while a snapshot is parked and after its release, against the same without one',
  needs: ['cc'],
  minutes: 13,
  run,
}

async function run(context: Context): Promise<Outcome> {
  const documents = context.quick ? 50_000 : 1_000_000
  const parkedSeconds = context.quick ? 10 : 600
  const releasedSeconds = parkedSeconds / 10
  const graceSeconds = 2 * parkedSeconds
  const flags = ['--backfill-grace', String(graceSeconds)]
  const daemons: Daemon[] = []
  for (const [index, situation] of situations.entries()) {
    context.progress(`storing ${documents} documents of ${valueBytes} B: ${situation}`)
    const data = join(context.folder, `data-${index}`)
    const first = await benchmarkDaemon(context, { data })
    await fill(first, { keys: documents, valueBytes })
    await untilQuiet(first.pid)
    await first.stop()
    daemons.push(await benchmarkDaemon(context, { data, flags }))
  }
  const measured: Record<Moment, Sizes[]> = {
    filled: [],
    'before the release': [],
    'in the end': [],
    'after a start': [],
  }
  const look = async (moment: Moment) => {
    measured[moment] = await Promise.all(daemons.map(daemon => sizesOf(daemon)))
    for (const [index, { fileBytes }] of measured[moment].entries()) {
      context.progress(`${moment}, ${situations[index]}: files of ${MB(fileBytes)} MB`)
    }
  }
  const update = async (seconds: number) => {
    const steps = Math.max(1, Math.round(seconds / 30))
    for (let step = 1; step <= steps; step++) {
      await updateAll(daemons, documents, seconds / steps, step)
      const sizes = daemons.map(daemon => `${MB(fileBytesOf(daemon))} MB`).join(', ')
      context.progress(`after ${Math.round((step * seconds) / steps)} s of updates: ${sizes}`)
    }
  }
  await look('filled')
  const client = await park(daemons[1]!, documents)
  await update(parkedSeconds)
  await look('before the release')
  const parked = await metric(daemons[1]!, 'holdfast_parked_vbuckets')
  await release(client)
  await update(releasedSeconds)
  await look('in the end')
  for (const [index, daemon] of daemons.entries()) {
    await daemon.stop()
    daemons[index] = await benchmarkDaemon(context, { data: daemon.data })
  }
  await look('after a start')
  const settings = {
    documents,
    valueBytes,
    updatesPerSecond,
    parkedSeconds,
    releasedSeconds,
    'vbuckets still parked before the release': parked,
  }
  return { settings, ...summarize(measured) }
}

async function updateAll(daemons: readonly Daemon[], keys: number, seconds: number, seed: number) {
  const plan = { keys, valueBytes, connections: 8, rate: updatesPerSecond, gets: 0, sets: 1, seed }
  await Promise.all(daemons.map(daemon => load(daemon, { ...plan, seconds, warmupSeconds: 0 })))
}

/** Leaves a client's snapshots behind, which reach over all vbuckets. */
async function park(daemon: Daemon, documents: number): Promise<DcpClient> {
  const from = new Map(Array.from({ length: vbucketCount }, (_, vbid) => [vbid, beginning]))
  const wanted = {
    port: daemon.port,
    name: 'parked',
    resume: 'true',
    windowBytes: 20 * 2 ** 20,
    acknowledges: false,
  }
  const client = new DcpClient({ ...wanted, from, documentsMax: documents / 100 })
  await client.open()
  await client.until(({ documents: received }) => received >= documents / 100)
  client.cut()
  return new DcpClient({ ...wanted, from: client.positions })
}

/** Comes back and says goodbye, which leaves nothing to wait for. */
async function release(client: DcpClient): Promise<void> {
  await client.open()
  await client.leave()
}

async function sizesOf(daemon: Daemon): Promise<Sizes> {
  await untilQuiet(daemon.pid)
  const liveBytes = await metric(daemon, 'holdfast_environment_live_bytes')
  return { fileBytes: fileBytesOf(daemon), liveBytes }
}

function fileBytesOf({ data }: Daemon): number {
  return readdirSync(data, { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('data.mdb'))
    .reduce((sum, path) => sum + statSync(join(data, path)).size, 0)
}

function summarize(measured: Record<Moment, Sizes[]>): Omit<Outcome, 'settings'> {
  const rows = situations.flatMap((situation, index) =>
    moments.map(moment => {
      const { fileBytes, liveBytes } = measured[moment][index]!
      return {
        when: moment,
        updates: situation,
        'files MB': MB(fileBytes),
        'of it in use MB': MB(liveBytes),
      }
    }),
  )
  const file = (moment: Moment, index: number) => measured[moment][index]!.fileBytes
  const single = (figure: string, value: number) => ({
    figure,
    value: spreadOf([value]),
    atMost: 1.1,
  })
  const verdicts = [
    single(
      'files after a start: with a parked snapshot / without',
      file('after a start', 1) / file('after a start', 0),
    ),
    single(
      'files in the end: with a parked snapshot / without',
      file('in the end', 1) / file('in the end', 0),
    ),
    single(
      'files with a parked snapshot: in the end / before its release',
      file('in the end', 1) / file('before the release', 1),
    ),
  ]
  return { rows, plot: 'files MB', verdicts }
}

function MB(bytes: number): number {
  return Math.round(bytes / 1e6)
}
