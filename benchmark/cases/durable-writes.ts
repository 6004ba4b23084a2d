import { join } from 'node:path'
import type { Benchmark, Context, Outcome, Row, Verdict } from '../benchmark.ts'
import { benchmarkDaemon } from '../daemon.ts'
import { fsyncLimit } from '../limits/limits.ts'
import { fill } from '../load/load-driver.ts'
import { loadColumns, measureLoad, type MeasuredLoad } from '../measured-load.ts'
import { startRedis } from '../peers/redis.ts'
import { untilQuiet } from '../process-usage.ts'
import { inTurns, roundsOf } from '../rounds.ts'
import { ratio, spreadOf } from '../spread.ts'

const valueBytes = 256
const names = ['holdfast', 'redis'] as const

/** Connections that wait for each write, and how many times redis's throughput is wanted. */
const crowds: readonly { readonly writers: number; readonly atLeast?: number }[] = [
  { writers: 1 },
  { writers: 32, atLeast: 1 },
  { writers: 256, atLeast: 1 },
]

export const benchmark: Benchmark = {
  name: 'durable-writes',
  about:
    'SETs that are answered once they are on disk (--ack disk), against redis with appendfsync always, and a loop of fdatasync',
  needs: ['cc', 'redis'],
  minutes: 5,
  run,
}

async function run(context: Context): Promise<Outcome> {
  const keys = context.quick ? 20_000 : 1_000_000
  const seconds = context.quick ? 1 : 5
  const rounds = roundsOf(context)
  const servers = {
    holdfast: await benchmarkDaemon(context, { flags: ['--ack', 'disk'] }),
    redis: await startRedis(context, 'always'),
  }
  for (const name of names) {
    context.progress(`storing ${keys} documents of ${valueBytes} B in ${name}`)
    await fill(servers[name], { keys, valueBytes })
    await untilQuiet(servers[name].pid)
  }
  const syncs: number[] = []
  const rows: Row[] = []
  const verdicts: Verdict[] = []
  for (const { writers, atLeast } of crowds) {
    const plan = { keys, valueBytes, connections: writers, seconds, gets: 0, sets: 1 }
    for (const name of names) await measureLoad(servers[name], { ...plan, seconds: 1 })
    const measured = await inTurns(rounds, names, async (name, round) => {
      const one = await measureLoad(servers[name], { ...plan, seed: round })
      context.progress(`${writers} writers, round ${round}, ${name}: ${describe(one)}`)
      if (name === 'redis') syncs.push(await syncsPerSecond(context, seconds))
      return one
    })
    for (const name of names) {
      rows.push({ writers: `${writers}`, server: name, ...loadColumns(measured[name]) })
    }
    if (atLeast === undefined) continue
    const speeds = (name: (typeof names)[number]) => measured[name].map(one => one.perSecond)
    const figure = `${writers} writers: holdfast / redis`
    verdicts.push(ratio(figure, speeds('holdfast'), speeds('redis'), { atLeast }))
  }
  rows.push({ writers: '1', server: 'limit: fdatasync in C', 'operations/s': spreadOf(syncs) })
  const settings = { keys, valueBytes, seconds, rounds }
  return { settings, rows, plot: 'operations/s', verdicts }
}

/** Of as many bytes as a document has. */
async function syncsPerSecond(context: Context, seconds: number): Promise<number> {
  const limit = await fsyncLimit(join(context.folder, 'limit'), seconds / 2, valueBytes)
  return limit.operations / limit.seconds
}

function describe({ perSecond, latencies }: MeasuredLoad): string {
  const p99 = Math.round(latencies.getValueAtPercentile(99) / 1000)
  return `${Math.round(perSecond).toLocaleString('en')} operations/s, p99 ${p99} µs`
}
