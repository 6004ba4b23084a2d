import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import type { BackfillTotals } from '../backfill-client.ts'
import { median, type Benchmark, type Context, type Outcome, type Row } from '../benchmark.ts'
import { benchmarkDaemon } from '../daemon.ts'
import { Histogram } from '../histogram.ts'
import { load } from '../load.ts'
import { PacedGets } from '../paced-gets.ts'

const vbucketCount = 1024
const valueBytes = 256
const getsPerSecond = 2_000
const connections = 16
const program = resolve(import.meta.dirname, '../backfill-client.js')

interface Window {
  readonly histogram: Histogram
  /** Of the backfill beside it, if there was one. */
  readonly documentsPerSecond: number
}

export const benchmark: Benchmark = {
  name: 'backfill-latency',
  about: 'Latency of GETs while a client streams the whole bucket from disk, against without',
  run,
}

async function run(context: Context): Promise<Outcome> {
  const documents = context.quick ? 100_000 : 1_000_000
  const windowMs = context.quick ? 2_000 : 10_000
  const pairs = context.quick ? 3 : 7
  context.progress(`storing ${documents} documents of ${valueBytes} bytes`)
  const first = await benchmarkDaemon(context, [])
  await load(first.port, { count: documents, valueBytes })
  await first.stop()

  // Started anew, so that nothing of them is in memory.
  const daemon = await benchmarkDaemon(context, ['--log-level', 'warn'], first.data)
  const gets = await PacedGets.start({
    port: daemon.port,
    documents,
    vbucketCount,
    connections,
    perSecond: getsPerSecond,
  })
  context.cleanUp(() => gets.close())
  const backfill = await startBackfillClient(context, daemon.port)

  await gets.run(windowMs, new Histogram())
  const windows: [Window, Window][] = []
  for (let pair = 0; pair < pairs; pair++) {
    const alone = await measure(gets, windowMs, undefined)
    const beside = await measure(gets, windowMs, backfill)
    windows.push([alone, beside])
    context.progress(`pair ${pair + 1} of ${pairs}: ${describe(alone)} alone, ${describe(beside)}`)
  }
  return {
    settings: { documents, valueBytes, getsPerSecond, connections, windowMs, pairs },
    ...summarize(windows),
  }
}

async function measure(
  gets: PacedGets,
  windowMs: number,
  backfill: ChildProcess | undefined,
): Promise<Window> {
  const histogram = new Histogram()
  const startedMs = performance.now()
  backfill?.send('begin')
  await gets.run(windowMs, histogram)
  if (backfill === undefined) return { histogram, documentsPerSecond: 0 }
  backfill.send('end')
  const [totals] = (await once(backfill, 'message')) as [BackfillTotals]
  const seconds = (performance.now() - startedMs) / 1000
  return { histogram, documentsPerSecond: totals.documents / seconds }
}

async function startBackfillClient(context: Context, port: number): Promise<ChildProcess> {
  const child = fork(program, [String(port), String(vbucketCount)])
  context.cleanUp(() => void child.kill())
  await once(child, 'message')
  return child
}

const shares = { 'p50 µs': 0.5, 'p95 µs': 0.95, 'p99 µs': 0.99, 'p99.9 µs': 0.999 }

/** For each percentile the medians over the windows, and of the pairs' ratios. */
function summarize(windows: readonly [Window, Window][]): Pick<Outcome, 'rows' | 'verdicts'> {
  const alone: Record<string, string | number> = { GETs: 'alone' }
  const beside: Record<string, string | number> = { GETs: 'beside a backfill' }
  const ratio: Record<string, string | number> = { GETs: 'ratio (median of pairs)' }
  for (const [name, share] of Object.entries(shares)) {
    const of = (window: Window) => window.histogram.percentile(share)
    alone[name] = median(windows.map(([one]) => of(one)))
    beside[name] = median(windows.map(([, other]) => of(other)))
    ratio[name] = median(windows.map(([one, other]) => of(other) / of(one)))
  }
  beside['documents/s'] = median(windows.map(([, { documentsPerSecond }]) => documentsPerSecond))
  const rows: Row[] = [alone, beside, ratio]
  const value = ratio['p99 µs'] as number
  return { rows, verdicts: [{ figure: 'p99 beside a backfill / alone', value, atMost: 2 }] }
}

function describe({ histogram, documentsPerSecond }: Window): string {
  const p99 = `p99 ${Math.round(histogram.percentile(0.99))} µs`
  return documentsPerSecond === 0
    ? p99
    : `${p99} with ${Math.round(documentsPerSecond)} documents/s`
}
