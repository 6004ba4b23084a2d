import type { Benchmark, Context, Outcome, Row } from '../benchmark.ts'
import { filledServers, mixes, serverNames, type Mix } from '../key-value-servers.ts'
import { measureLoad, type MeasuredLoad } from '../measured-load.ts'
import { inTurns, roundsOf } from '../rounds.ts'
import { spreadOf } from '../spread.ts'

const connections = 32
const valueBytes = 256
/** Well below what the slowest of them can do, and near to it. */
const rates = [10_000, 40_000] as const
const percentiles = { 'p50 µs': 50, 'p95 µs': 95, 'p99 µs': 99, 'p99.9 µs': 99.9 }

export const benchmark: Benchmark = {
  name: 'key-value-latency',
  about:
    'Latency of GETs and SETs that come at a fixed rate, whether or not those before have been answered, counted from when each was due',
  needs: ['cc', 'memcached', 'redis'],
  minutes: 6,
  run,
}

async function run(context: Context): Promise<Outcome> {
  const keys = context.quick ? 50_000 : 1_000_000
  const seconds = context.quick ? 1 : 3
  const rounds = roundsOf(context)
  const servers = await filledServers(context, { keys, valueBytes })
  const rows: Row[] = []
  for (const mix of Object.keys(mixes) as Mix[]) {
    for (const rate of rates) {
      const plan = { keys, valueBytes, connections, rate, seconds, ...mixes[mix] }
      // Once without counting: code is compiled when it has run a while.
      for (const name of serverNames) await measureLoad(servers[name], { ...plan, seconds: 1 })
      const measured = await inTurns(rounds, serverNames, async (name, round) => {
        const one = await measureLoad(servers[name], { ...plan, seed: round })
        const p99 = Math.round(microseconds(one, 99))
        context.progress(`${mix}, ${rate}/s, round ${round}, ${name}: p99 ${p99} µs`)
        return one
      })
      for (const name of serverNames) {
        rows.push({ work: mix, asked: `${rate}/s`, server: name, ...columns(measured[name]) })
      }
    }
  }
  const settings = { keys, valueBytes, connections, seconds, rounds }
  return { settings, rows, plot: 'p99 µs', verdicts: [] }
}

function columns(rounds: readonly MeasuredLoad[]): Row {
  const latencies = Object.entries(percentiles).map(([name, percentile]) => [
    name,
    spreadOf(rounds.map(one => microseconds(one, percentile))),
  ])
  return {
    'operations/s': spreadOf(rounds.map(({ perSecond }) => perSecond)),
    ...(Object.fromEntries(latencies) as Row),
    'server CPU µs/operation': spreadOf(rounds.map(one => one.serverMicroseconds)),
    'driver CPU': spreadOf(rounds.map(({ driverShare }) => driverShare)).median,
  }
}

function microseconds({ latencies }: MeasuredLoad, percentile: number): number {
  return latencies.getValueAtPercentile(percentile) / 1000
}
