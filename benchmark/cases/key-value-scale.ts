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
    'Throughput and CPU of an operation with more and more documents, in memory or beyond it, and of the first GETs after a cold start',
  needs: ['cc'],
  minutes: 16,
  run,
}

/** So many documents, and where they are. */
interface Store {
  readonly name: string
  readonly keys: number
  readonly flags?: readonly string[]
}

/** Where a daemon with its default settings keeps the most, the greater part is on disk only. */
function storesOf(context: Context): readonly [Store, Store, Store, Store] {
  const [few, middle, most] = context.quick
    ? ([4_000, 20_000, 100_000] as const)
    : ([200_000, 1_000_000, 5_000_000] as const)
  const store = (keys: number, where = '') => ({ name: shown(keys) + where, keys })
  const inMemory = { ...store(most, ' in memory'), flags: ['--document-cache', '4GiB'] }
  return [store(few), store(middle), inMemory, store(most)]
}

async function run(context: Context): Promise<Outcome> {
  const stores = storesOf(context)
  const [few, middle, ...most] = stores
  const seconds = context.quick ? 1 : 5
  const rounds = roundsOf(context)
  const running = new Map<string, { readonly daemon: Daemon; readonly keys: number }>()
  for (const [index, { name, keys, flags = [] }] of stores.entries()) {
    context.progress(`storing ${name} documents of ${valueBytes} B`)
    const data = join(context.folder, `data-${index}`)
    const daemon = await benchmarkDaemon(context, { data, flags })
    await fill(daemon, { keys, valueBytes })
    await untilQuiet(daemon.pid)
    running.set(name, { daemon, keys })
  }
  const rows: Row[] = []
  const verdicts: Verdict[] = []
  for (const pipeline of [1, 32]) {
    for (const mix of Object.keys(mixes) as Mix[]) {
      const measured = await inTurns(rounds, [...running.keys()], async (name, round) => {
        const { daemon, keys } = running.get(name)!
        const plan = { keys, valueBytes, connections, pipeline, seconds, seed: round }
        const one = await measureLoad(daemon, { ...plan, ...mixes[mix] })
        const what = `${mix}, pipeline ${pipeline}, round ${round}, ${name} documents`
        context.progress(`${what}: ${describe(one)}`)
        return one
      })
      for (const name of running.keys()) {
        const asked = { work: mix, pipeline: `${pipeline}`, documents: name }
        rows.push({ ...asked, ...loadColumns(measured[name]!) })
      }
      for (const { name } of most) {
        const figure = `${mix}, pipeline ${pipeline}, CPU of an operation: ${name} / ${few.name} documents`
        verdicts.push(verdictOf(figure, measured[name]!, measured[few.name]!))
      }
    }
  }
  const { daemon, keys } = running.get(middle.name)!
  rows.push(...(await coldRows(context, daemon, { keys, seconds, rounds })))
  const settings = { valueBytes, connections, seconds, rounds }
  return { settings, rows, plot: 'server CPU µs/operation', verdicts }
}

/** A tree of 25 times as many documents is deeper by a level or so; its pages are in no cache. */
function verdictOf(
  figure: string,
  most: readonly MeasuredLoad[],
  fewest: readonly MeasuredLoad[],
): Verdict {
  const costs = (measured: readonly MeasuredLoad[]) => measured.map(one => one.serverMicroseconds)
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

function shown(count: number): string {
  return count.toLocaleString('en')
}
