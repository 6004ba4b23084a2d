import { StreamRequestFlag } from '../../protocol/dcp/index.ts'
import type { Benchmark, Context, Outcome } from '../benchmark.ts'
import { benchmarkDaemon, vbucketCount, type Daemon } from '../daemon.ts'
import { DcpClient } from '../dcp-client.ts'
import { beginning, type Position } from '../dcp-requests.ts'
import { fill } from '../load/load-driver.ts'
import { mainThreadSeconds, untilQuiet } from '../process-usage.ts'
import { inTurns, roundsOf } from '../rounds.ts'
import { median, spreadOf } from '../spread.ts'

const valueBytes = 256
const counts = [64, vbucketCount] as const

/** What a client that opens streams has already. */
const situations = ['up to date', 'nothing'] as const
type Situation = (typeof situations)[number]

interface Opening {
  readonly ms: number
  readonly mainThreadMs: number
}

export const benchmark: Benchmark = {
  name: 'streams',
  about: 'Opening streams on one connection: time until all are open, and CPU of the main thread',
  needs: ['cc'],
  minutes: 2,
  run,
}

async function run(context: Context): Promise<Outcome> {
  const documents = context.quick ? 50_000 : 1_000_000
  const times = context.quick ? 5 : 30
  const rounds = roundsOf(context)
  context.progress(`storing ${documents} documents of ${valueBytes} B`)
  const first = await benchmarkDaemon(context)
  await fill(first, { keys: documents, valueBytes })
  await first.stop()
  const daemon = await benchmarkDaemon(context, { data: first.data })
  const positions = await positionsAtTheEnd(daemon)
  const scenes = situations.flatMap(situation =>
    counts.map(count => ({ situation, count, name: `${count} streams, ${situation}` })),
  )
  const names = scenes.map(({ name }) => name)
  const measured = await inTurns(rounds, names, async (name, round) => {
    const { situation, count } = scenes.find(scene => scene.name === name)!
    const from = new Map([...positions].slice(0, count))
    const one = await measure(daemon, situation, from, times)
    const shown = `${one.ms.toFixed(1)} ms, ${one.mainThreadMs.toFixed(1)} ms of CPU`
    context.progress(`round ${round}, ${name}: ${shown}`)
    return one
  })
  const rows = scenes.map(({ situation, count, name }) => {
    const cpu = measured[name]!.map(one => one.mainThreadMs)
    return {
      'client has': situation,
      streams: `${count}`,
      'ms until all are open': spreadOf(measured[name]!.map(({ ms }) => ms)),
      'main thread CPU ms': spreadOf(cpu),
      'µs of it for each stream': spreadOf(cpu.map(ms => (1000 * ms) / count)),
    }
  })
  const settings = { documents, valueBytes, times, rounds }
  return { settings, rows, plot: 'ms until all are open', verdicts: [] }
}

/** The clock of processor time is coarse, so it is read over many times. */
async function measure(
  daemon: Daemon,
  situation: Situation,
  positions: ReadonlyMap<number, Position>,
  times: number,
): Promise<Opening> {
  await untilQuiet(daemon.pid)
  const before = mainThreadSeconds(daemon.pid)
  const all: number[] = []
  for (let time = 1; time <= times; time++) {
    const isNew = situation === 'nothing'
    const client = new DcpClient({
      port: daemon.port,
      name: `streams-${time}`,
      from: isNew ? new Map([...positions.keys()].map(vbid => [vbid, beginning])) : positions,
      // What is sent is not the subject: as little as a client can ask for.
      windowBytes: 1024,
      acknowledges: false,
    })
    const started = performance.now()
    await client.open()
    all.push(performance.now() - started)
    await client.leave()
  }
  await untilQuiet(daemon.pid)
  const processor = mainThreadSeconds(daemon.pid) - before
  return { ms: median(all), mainThreadMs: (1000 * processor) / times }
}

/** Streams everything once. */
async function positionsAtTheEnd({ port }: Daemon): Promise<ReadonlyMap<number, Position>> {
  const client = new DcpClient({
    port,
    name: 'streams',
    from: new Map(Array.from({ length: vbucketCount }, (_, vbid) => [vbid, beginning])),
    flags: StreamRequestFlag.toLatest,
    windowBytes: 20 * 2 ** 20,
    acknowledges: true,
  })
  await client.open()
  await client.until(({ ended }) => ended === vbucketCount)
  await client.leave()
  return client.positions
}
