import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { cp } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { BackfillTotals } from '../backfill-client.ts'
import type { Benchmark, Cell, Context, Outcome, Verdict } from '../benchmark.ts'
import { benchmarkDaemon, vbucketCount } from '../daemon.ts'
import { fill, load, type Measured } from '../load/load-driver.ts'
import { ratio, spreadOf } from '../spread.ts'

const valueBytes = 256
const getsPerSecond = 2_000
const connections = 16
const program = resolve(import.meta.dirname, '../backfill-client.js')

interface Window {
  readonly gets: Measured
  /** Of the backfill beside it, if there was one. */
  readonly documentsPerSecond: number
}

/** What the GETs have beside them: nothing, a backfill of another daemon, one of their own. */
const situations = ['alone', 'beside a neighbour', 'beside a backfill'] as const
type Situation = (typeof situations)[number]
type Round = Readonly<Record<Situation, Window>>

export const benchmark: Benchmark = {
  name: 'backfill-latency',
  about: 'Latency of GETs while a client streams the whole bucket from disk, against without',
  needs: ['cc', 'chrt'],
  minutes: 5,
  run,
}

async function run(context: Context): Promise<Outcome> {
  const documents = context.quick ? 100_000 : 3_000_000
  const seconds = context.quick ? 2 : 10
  const rounds = context.quick ? 3 : 7
  context.progress(`storing ${documents} documents of ${valueBytes} bytes`)
  const first = await benchmarkDaemon(context)
  await fill(first, { keys: documents, valueBytes })
  await first.stop()
  const copy = join(context.folder, 'neighbour')
  await cp(first.data, copy, { recursive: true })

  // Started anew, so that nothing of them is in memory.
  const daemon = await benchmarkDaemon(context, { data: first.data })
  const neighbour = await benchmarkDaemon(context, { data: copy })
  const gets = (seconds: number) =>
    load(daemon, {
      keys: documents,
      valueBytes,
      connections,
      rate: getsPerSecond,
      undisturbed: true,
      seconds,
      warmupSeconds: 0,
    })
  const backfills: Record<Situation, ChildProcess | undefined> = {
    alone: undefined,
    'beside a neighbour': await startBackfillClient(context, neighbour.port),
    'beside a backfill': await startBackfillClient(context, daemon.port),
  }

  // Once without counting: code is compiled when it has run a while.
  for (const situation of situations) await measure(gets, seconds / 2, backfills[situation])
  const measured: Round[] = []
  for (let round = 1; round <= rounds; round++) {
    const windows: Partial<Record<Situation, Window>> = {}
    for (const situation of situations) {
      windows[situation] = await measure(gets, seconds, backfills[situation])
    }
    measured.push(windows as Round)
    const shown = situations.map(situation => `${describe(windows[situation]!)} ${situation}`)
    context.progress(`round ${round} of ${rounds}: ${shown.join(', ')}`)
  }
  return {
    settings: { documents, valueBytes, getsPerSecond, connections, seconds, rounds },
    ...summarize(measured),
  }
}

async function measure(
  gets: (seconds: number) => Promise<Measured>,
  seconds: number,
  backfill: ChildProcess | undefined,
): Promise<Window> {
  const startedMs = performance.now()
  backfill?.send('begin')
  const measured = await gets(seconds)
  if (backfill === undefined) return { gets: measured, documentsPerSecond: 0 }
  backfill.send('end')
  const [totals] = (await once(backfill, 'message')) as [BackfillTotals]
  const elapsed = (performance.now() - startedMs) / 1000
  return { gets: measured, documentsPerSecond: totals.documents / elapsed }
}

function microseconds({ gets }: Window, percentile: number): number {
  return gets.latencies.getValueAtPercentile(percentile) / 1000
}

/**
 * Both clients stand for ones on other machines, which take no processor from the daemon nor wait
 * for one because of it. So the one that measures gets one at once, and the one that streams has
 * the scheduling class SCHED_IDLE: it runs when nobody else wants the processor. A lower priority
 * alone does not do: the scheduler lets a running task of any priority finish its slice of
 * milliseconds before one that wakes up, and each such wait would count as a slow GET.
 */
async function startBackfillClient(context: Context, port: number): Promise<ChildProcess> {
  const child = fork(program, [String(port), String(vbucketCount)], {
    execPath: 'chrt',
    execArgv: ['--idle', '0', process.execPath],
  })
  context.cleanUp(() => void child.kill())
  await once(child, 'message')
  return child
}

const percentiles = { 'p50 µs': 50, 'p95 µs': 95, 'p99 µs': 99, 'p99.9 µs': 99.9 }

function summarize(rounds: readonly Round[]): Pick<Outcome, 'rows' | 'plot' | 'verdicts'> {
  const ofAll = (situation: Situation, percentile: number) =>
    rounds.map(round => microseconds(round[situation], percentile))
  const rows = situations.map(situation => {
    const row: Record<string, Cell> = { GETs: situation }
    for (const [name, percentile] of Object.entries(percentiles)) {
      row[name] = spreadOf(ofAll(situation, percentile))
    }
    const speed = spreadOf(rounds.map(round => round[situation].documentsPerSecond))
    return speed.high === 0 ? row : { ...row, 'documents/s': speed }
  })
  const p99Ratio = (situation: Situation, other: Situation): Verdict =>
    ratio(`p99 ${situation} / ${other}`, ofAll(situation, 99), ofAll(other, 99), { atMost: 2 })
  const verdicts = [
    p99Ratio('beside a backfill', 'alone'),
    p99Ratio('beside a backfill', 'beside a neighbour'),
  ]
  return { rows, plot: 'p99 µs', verdicts }
}

function describe(window: Window): string {
  const { documentsPerSecond } = window
  const p99 = `p99 ${Math.round(microseconds(window, 99))} µs`
  return documentsPerSecond === 0
    ? p99
    : `${p99} with ${Math.round(documentsPerSecond)} documents/s`
}
