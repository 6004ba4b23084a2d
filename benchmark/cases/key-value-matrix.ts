import type { Benchmark, Context, Outcome, Row } from '../benchmark.ts'
import { Comparison, filledServers, mixes, type Mix } from '../key-value-servers.ts'
import { part } from '../part.ts'
import { roundsOf } from '../rounds.ts'

/** What differs from the case `key-value`, one thing at a time. */
interface Variant {
  readonly name: string
  readonly keys?: number
  readonly valueBytes?: number
  readonly connections?: number
  readonly skew?: number
  /** Requests under way on each connection: large values fill sockets without any waiting in line. */
  readonly pipelines: readonly number[]
  /** Of a window: large values fill disks quickly, above all that of an append-only file. */
  readonly seconds?: number
}

const variants: readonly Variant[] = [
  { name: '256 connections', connections: 256, pipelines: [1, 32] },
  { name: 'zipfian keys', skew: 0.99, pipelines: [1, 32] },
  { name: '64 B', valueBytes: 64, pipelines: [1, 32] },
  { name: '4 KiB', valueBytes: 4096, keys: 200_000, pipelines: [1] },
  { name: '64 KiB', valueBytes: 65_536, keys: 10_000, seconds: 1, pipelines: [1] },
]

export const benchmark: Benchmark = {
  name: 'key-value-matrix',
  about:
    'As key-value, with more connections, other sizes of values, and keys of which few are popular',
  needs: ['cc', 'memcached', 'redis'],
  minutes: 24,
  run,
}

async function run(context: Context): Promise<Outcome> {
  const rounds = roundsOf(context)
  const usual = {
    keys: context.quick ? 20_000 : 1_000_000,
    seconds: context.quick ? 0.2 : 1.5,
    valueBytes: 256,
    connections: 32,
  }
  const rows: Row[] = []
  for (const { name, ...differences } of variants) {
    const all = { ...usual, ...differences }
    const few = {
      keys: Math.min(all.keys, usual.keys),
      seconds: Math.min(all.seconds, usual.seconds),
    }
    rows.push(
      ...(await part(context, name, inside => measure(inside, name, { ...all, ...few, rounds }))),
    )
  }
  return { settings: { ...usual, rounds }, rows, plot: 'operations/s', verdicts: [] }
}

interface Plan {
  readonly keys: number
  readonly seconds: number
  readonly valueBytes: number
  readonly connections: number
  readonly skew?: number
  readonly pipelines: readonly number[]
  readonly rounds: number
}

async function measure(
  context: Context,
  variant: string,
  { pipelines, ...plan }: Plan,
): Promise<Row[]> {
  const servers = await filledServers(context, plan)
  const rows: Row[] = []
  for (const pipeline of pipelines) {
    for (const mix of Object.keys(mixes) as Mix[]) {
      const what = `${variant}, ${mix}, pipeline ${pipeline}`
      const load = { ...plan, pipeline, ...mixes[mix], what }
      const comparison = await Comparison.of(context, servers, load)
      rows.push(...comparison.rows({ variant, work: mix, pipeline: `${pipeline}` }))
    }
  }
  return rows
}
