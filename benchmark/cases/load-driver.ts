import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Benchmark, Context, Outcome, Row, Verdict } from '../benchmark.ts'
import { fill, load, type Server } from '../load/load-driver.ts'
import { startRedis } from '../peers/redis.ts'
import { untilQuiet } from '../process-usage.ts'
import { inTurns, roundsOf } from '../rounds.ts'
import type { ServerProcess } from '../server-process.ts'
import { ratio, spreadOf } from '../spread.ts'

const run = promisify(execFile)
const connections = 32
const valueBytes = 256
const drivers = ['our driver', 'redis-benchmark'] as const

export const benchmark: Benchmark = {
  name: 'load-driver',
  about: 'What our load driver and redis-benchmark say about the same redis',
  needs: ['cc', 'redis', 'redis-benchmark'],
  minutes: 4,
  run: compare,
}

type Command = 'get' | 'set'

async function compare(context: Context): Promise<Outcome> {
  const keys = context.quick ? 20_000 : 200_000
  const seconds = context.quick ? 1 : 5
  const rounds = roundsOf(context)
  const redis = await startRedis(context, 'everysec')
  await fill(redis, { keys, valueBytes })
  // Its keys are others; it draws them by chance, so that more are needed to have nearly all.
  await theirs(redis, { command: 'set', keys, pipeline: 32, operations: 5 * keys })
  const rows: Row[] = []
  const verdicts: Verdict[] = []
  for (const command of ['get', 'set'] as const) {
    for (const pipeline of [1, 32]) {
      const what = `${command.toUpperCase()}, pipeline ${pipeline}`
      // For as long as ours takes, more or less.
      let operations = 50_000
      const measured = await inTurns(rounds, drivers, async (driver, round) => {
        await untilQuiet(redis.pid)
        const plan = { command, keys, pipeline, operations }
        const perSecond = await (driver === 'our driver'
          ? ours(redis, { ...plan, seconds })
          : theirs(redis, plan))
        if (driver === 'our driver') operations = Math.ceil(perSecond * seconds)
        context.progress(
          `${what}, round ${round}, ${driver}: ${Math.round(perSecond)} operations/s`,
        )
        return perSecond
      })
      for (const driver of drivers) {
        const asked = { command: command.toUpperCase(), pipeline: `${pipeline}`, driver }
        rows.push({ ...asked, 'operations/s': spreadOf(measured[driver]) })
      }
      const [one, other] = [measured['our driver'], measured['redis-benchmark']]
      verdicts.push(ratio(`${what}: ours / redis-benchmark`, one, other, { atLeast: 0.9 }))
    }
  }
  const settings = { keys, valueBytes, connections, seconds, rounds }
  return { settings, rows, plot: 'operations/s', verdicts }
}

interface Plan {
  readonly command: Command
  readonly keys: number
  readonly pipeline: number
}

async function ours(server: Server, { command, ...plan }: Plan & { seconds: number }) {
  const mix = command === 'get' ? { gets: 1, sets: 0 } : { gets: 0, sets: 1 }
  const { keys, pipeline, seconds } = plan
  const all = { keys, valueBytes, connections, pipeline, seconds, ...mix }
  return (await load(server, all)).perSecond
}

async function theirs(
  { port }: Server & ServerProcess,
  { command, keys, pipeline, operations }: Plan & { operations: number },
): Promise<number> {
  const settings = { p: port, c: connections, P: pipeline, n: operations, r: keys, d: valueBytes }
  const args = Object.entries(settings).flatMap(([name, value]) => [`-${name}`, String(value)])
  const { stdout } = await run('redis-benchmark', [...args, '-t', command, '--csv'])
  // The last line: "GET","123456.78", and latencies.
  const perSecond = /^"(?:GET|SET)","([\d.]+)"/m.exec(stdout)?.[1]
  if (perSecond === undefined) throw new Error(`redis-benchmark said: ${stdout}`)
  return Number(perSecond)
}
