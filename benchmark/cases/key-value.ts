import type { Benchmark, Context, Outcome, Row, Verdict } from '../benchmark.ts'
import { filledServers, serverNames, type ServerName } from '../key-value-servers.ts'
import { loadColumns, measureLoad, type MeasuredLoad } from '../measured-load.ts'
import { inTurns, roundsOf } from '../rounds.ts'
import { ratio } from '../spread.ts'

const mixes = {
  'GET-heavy': { gets: 10, sets: 1 },
  'SET-heavy': { gets: 1, sets: 10 },
} as const
const connections = 32
const valueBytes = 256

interface Work {
  readonly mix: keyof typeof mixes
  readonly pipeline: number
  /** How many times the throughput of a peer is wanted. */
  readonly wanted: Partial<Record<ServerName, number>>
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
  run,
}

async function run(context: Context): Promise<Outcome> {
  const keys = context.quick ? 50_000 : 1_000_000
  const seconds = context.quick ? 1 : 5
  const rounds = roundsOf(context)
  const servers = await filledServers(context, { keys, valueBytes })
  const rows: Row[] = []
  const verdicts: Verdict[] = []
  for (const { mix, pipeline, wanted } of works) {
    const plan = { keys, valueBytes, connections, pipeline, seconds, ...mixes[mix] }
    // Once without counting: code is compiled when it has run a while.
    for (const name of serverNames) await measureLoad(servers[name], { ...plan, seconds: 1 })
    const measured = await inTurns(rounds, serverNames, async (name, round) => {
      const one = await measureLoad(servers[name], { ...plan, seed: round })
      context.progress(describe(`${mix}, pipeline ${pipeline}, round ${round}, ${name}`, one))
      return one
    })
    for (const name of serverNames) {
      rows.push({
        work: mix,
        pipeline: `${pipeline}`,
        server: name,
        ...loadColumns(measured[name]),
      })
    }
    verdicts.push(...verdictsOf(`${mix}, pipeline ${pipeline}`, wanted, measured))
  }
  const settings = { keys, valueBytes, connections, seconds, rounds }
  return { settings, rows, plot: 'operations/s', verdicts }
}

function verdictsOf(
  work: string,
  wanted: Work['wanted'],
  measured: Record<ServerName, MeasuredLoad[]>,
): Verdict[] {
  const speeds = (name: ServerName) => measured[name].map(({ perSecond }) => perSecond)
  return Object.entries(wanted).map(([name, atLeast]) => {
    const peer = name as ServerName
    return ratio(`${work}: holdfast / ${peer}`, speeds('holdfast'), speeds(peer), { atLeast })
  })
}

function describe(what: string, { perSecond, serverMicroseconds }: MeasuredLoad): string {
  const speed = Math.round(perSecond).toLocaleString('en')
  return `${what}: ${speed} operations/s, ${serverMicroseconds.toFixed(2)} µs of CPU each`
}
