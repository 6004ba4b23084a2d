import { join } from 'node:path'
import type { Benchmark, Context, Outcome } from '../benchmark.ts'
import { benchmarkDaemon } from '../daemon.ts'
import { forgetPages } from '../page-cache.ts'
import { fill, load } from '../load/load-driver.ts'
import { untilQuiet } from '../process-usage.ts'
import { inTurns, roundsOf } from '../rounds.ts'
import { ratio, spreadOf } from '../spread.ts'

const valueBytes = 256
const caches = ['in memory', 'on disk only'] as const
const sizes = ['small', 'large'] as const
type Size = (typeof sizes)[number]

export const benchmark: Benchmark = {
  name: 'start',
  about: 'Time from starting the process to its ready line after kill -9 under SETs, by size',
  needs: ['cc'],
  minutes: 4,
  run,
}

async function run(context: Context): Promise<Outcome> {
  const keysOf: Record<Size, number> = context.quick
    ? { small: 2_000, large: 200_000 }
    : { small: 50_000, large: 5_000_000 }
  const rounds = roundsOf(context)
  const data = (size: Size) => join(context.folder, size)
  for (const size of sizes) {
    context.progress(`storing ${keysOf[size]} documents of ${valueBytes} B`)
    const daemon = await benchmarkDaemon(context, { data: data(size) })
    await fill(daemon, { keys: keysOf[size], valueBytes })
    await untilQuiet(daemon.pid)
    await daemon.kill()
  }
  const started = async (size: Size, cache: (typeof caches)[number]): Promise<number> => {
    if (cache === 'on disk only') await forgetPages(data(size))
    const daemon = await benchmarkDaemon(context, { data: data(size) })
    // So that the next one finds what a crash leaves, not what a stop does.
    const plan = { keys: keysOf[size], valueBytes, connections: 8, gets: 0, sets: 1 }
    await load(daemon, { ...plan, seconds: 0.5, warmupSeconds: 0 })
    await daemon.kill()
    return daemon.readySeconds
  }
  const rows = []
  const verdicts = []
  for (const cache of caches) {
    const measured = await inTurns(rounds, sizes, async (size, round) => {
      const seconds = await started(size, cache)
      const documents = keysOf[size].toLocaleString('en')
      context.progress(`round ${round}, ${documents} documents ${cache}: ${seconds.toFixed(3)} s`)
      return seconds
    })
    for (const size of sizes) {
      rows.push({
        documents: keysOf[size].toLocaleString('en'),
        files: cache,
        'seconds to ready': spreadOf(measured[size]),
      })
    }
    verdicts.push(
      ratio(`files ${cache}: large / small`, measured.large, measured.small, { atMost: 1.5 }),
    )
  }
  const settings = { valueBytes, rounds, ...keysOf }
  return { settings, rows, plot: 'seconds to ready', verdicts }
}
