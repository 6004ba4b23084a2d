import { join } from 'node:path'
import type { Benchmark, Context, Outcome, Row, Verdict } from '../benchmark.ts'
import { benchmarkDaemon, type Daemon } from '../daemon.ts'
import { describe, mixes, type Mix } from '../key-value-servers.ts'
import { fill } from '../load/load-driver.ts'
import { loadColumns, measureLoad, type MeasuredLoad } from '../measured-load.ts'
import { forgetPages } from '../page-cache.ts'
import { untilQuiet } from '../process-usage.ts'
import { inTurns, roundsOf } from '../rounds.ts'
import { ratio } from '../spread.ts'

const connections = 32
const valueBytes = 256

export const benchmark: Benchmark = {
  name: 'key-value-scale',
  about:
    'Throughput and CPU of an operation with more and more documents, and of the first GETs after a cold start',
  needs: ['cc'],
  minutes: 9,
  run,
}

async function run(context: Context): Promise<Outcome> {
  const counts = context.quick ? [4_000, 20_000, 100_000] : [200_000, 1_000_000, 5_000_000]
  const seconds = context.quick ? 1 : 5
  const rounds = roundsOf(context)
  const daemons = new Map<string, Daemon>()
  for (const keys of counts) {
    context.progress(`storing ${keys} documents of ${valueBytes} B`)
    const daemon = await benchmarkDaemon(context, { data: join(context.folder, `data-${keys}`) })
    await fill(daemon, { keys, valueBytes })
    await untilQuiet(daemon.pid)
    daemons.set(String(keys), daemon)
  }
  const rows: Row[] = []
  const verdicts: Verdict[] = []
  for (const pipeline of [1, 32]) {
    for (const mix of Object.keys(mixes) as Mix[]) {
      const measured = await inTurns(rounds, [...daemons.keys()], async (keys, round) => {
        const plan = { keys: Number(keys), valueBytes, connections, pipeline, seconds, seed: round }
        const one = await measureLoad(daemons.get(keys)!, { ...plan, ...mixes[mix] })
        const what = `${mix}, pipeline ${pipeline}, round ${round}, ${keys} documents`
        context.progress(`${what}: ${describe(one)}`)
        return one
      })
      for (const keys of daemons.keys()) {
        const asked = { work: mix, pipeline: `${pipeline}`, documents: shown(keys) }
        rows.push({ ...asked, ...loadColumns(measured[keys]!) })
      }
      verdicts.push(verdictOf(`${mix}, pipeline ${pipeline}`, counts, measured))
    }
  }
  const middle = counts[1]!
  rows.push(
    ...(await coldRows(context, daemons.get(String(middle))!, { keys: middle, seconds, rounds })),
  )
  const settings = { valueBytes, connections, seconds, rounds }
  return { settings, rows, plot: 'server CPU µs/operation', verdicts }
}

/** A tree of 25 times as many documents is deeper by a level or so; its pages are in no cache. */
function verdictOf(
  what: string,
  counts: readonly number[],
  measured: Record<string, MeasuredLoad[]>,
) {
  const costs = (keys: number) => measured[keys]!.map(one => one.serverMicroseconds)
  const [fewest, most] = [counts[0]!, counts.at(-1)!]
  const figure = `${what}, CPU of an operation: ${shown(most)} / ${shown(fewest)} documents`
  return ratio(figure, costs(most), costs(fewest), { atMost: 1.5 })
}

/** The first GETs after a start with nothing of the files in memory, and those after them. */
async function coldRows(
  context: Context,
  daemon: Daemon,
  { keys, seconds, rounds }: { keys: number; seconds: number; rounds: number },
): Promise<Row[]> {
  const states = ['GETs after a cold start', 'GETs after those'] as const
  const { data } = daemon
  let running = daemon
  const measured = await inTurns(rounds, states, async (state, round) => {
    if (state === 'GETs after a cold start') {
      await running.stop()
      await forgetPages(data)
      running = await benchmarkDaemon(context, { data })
    }
    const plan = { keys, valueBytes, connections, seconds, seed: round }
    const one = await measureLoad(running, { ...plan, warmupSeconds: 0 })
    context.progress(`${state}, round ${round}: ${describe(one)}`)
    return one
  })
  return states.map(state => ({
    work: state,
    pipeline: '1',
    documents: shown(keys),
    ...loadColumns(measured[state]),
  }))
}

function shown(count: number | string): string {
  return Number(count).toLocaleString('en')
}
