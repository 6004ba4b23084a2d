import type { Benchmark, Context, Outcome, Row, Verdict } from '../benchmark.ts'
import {
  Comparison,
  filledServers,
  limitName,
  mixes,
  startBareServer,
  type Mix,
} from '../key-value-servers.ts'
import { roundsOf } from '../rounds.ts'

const connections = 32
const valueBytes = 256

interface Work {
  readonly mix: Mix
  readonly pipeline: number
  readonly wanted: Parameters<Comparison['verdicts']>[0]
}

const works: readonly Work[] = [
  { mix: 'GET-heavy', pipeline: 1, wanted: { memcached: 1 } },
  { mix: 'SET-heavy', pipeline: 1, wanted: { redis: 1.4, memcached: 0.9 } },
  { mix: 'GET-heavy', pipeline: 32, wanted: { memcached: 1.1, redis: 1 } },
  { mix: 'SET-heavy', pipeline: 32, wanted: { redis: 1.4, memcached: 1 } },
]

export const benchmark: Benchmark = {
  name: 'key-value',
  about:
    'GETs and SETs, 10:1 and 1:10, against memcached with one thread and redis with an append-only file synced every second',
  needs: ['cc', 'memcached', 'redis'],
  minutes: 12,
  run,
}

async function run(context: Context): Promise<Outcome> {
  const keys = context.quick ? 50_000 : 1_000_000
  const seconds = context.quick ? 1 : 5
  const rounds = roundsOf(context)
  const servers = {
    ...(await filledServers(context, { keys, valueBytes })),
    [limitName]: await startBareServer(context, valueBytes),
  }
  const rows: Row[] = []
  const verdicts: Verdict[] = []
  for (const { mix, pipeline, wanted } of works) {
    const what = `${mix}, pipeline ${pipeline}`
    const plan = { keys, valueBytes, connections, pipeline, seconds, ...mixes[mix] }
    const comparison = await Comparison.of(context, servers, { ...plan, what, rounds })
    rows.push(...comparison.rows({ work: mix, pipeline: `${pipeline}` }))
    verdicts.push(...comparison.verdicts(wanted))
  }
  const settings = { keys, valueBytes, connections, seconds, rounds }
  return { settings, rows, plot: 'operations/s', verdicts }
}
