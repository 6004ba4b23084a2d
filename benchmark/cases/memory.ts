import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Benchmark, Context, Outcome, Row } from '../benchmark.ts'
import { benchmarkDaemon } from '../daemon.ts'
import { fill, load } from '../load/load-driver.ts'
import type { MeasuredServer } from '../measured-load.ts'
import { startMemcached } from '../peers/memcached.ts'
import { residentBytes, untilQuiet, type Resident } from '../process-usage.ts'
import { inTurns, roundsOf } from '../rounds.ts'
import { ratio, spreadOf } from '../spread.ts'

const valueBytes = 256
/** At rest is who has been asked for nothing that long: servers put off what nobody waits for. */
const restSeconds = 20
const names = ['holdfast', 'memcached'] as const
const states = ['empty', 'at rest after filling', 'at rest after reading'] as const
type State = (typeof states)[number]
type Round = Readonly<Record<State, Resident>>

export const benchmark: Benchmark = {
  name: 'memory',
  about: 'Resident memory of the process with documents of 256 B, against memcached with the same',
  needs: ['cc', 'memcached'],
  minutes: 16,
  run,
}

async function run(context: Context): Promise<Outcome> {
  const keys = context.quick ? 100_000 : 5_000_000
  const rounds = roundsOf(context)
  const data = join(context.folder, 'data')
  const measured = await inTurns(rounds, names, async (name, round) => {
    const server =
      name === 'memcached'
        ? await startMemcached(context)
        : await benchmarkDaemon(context, { data })
    const seconds = context.quick ? 1 : 10
    const one = await measure(server, {
      keys,
      seconds,
      restMs: context.quick ? 0 : 1000 * restSeconds,
    })
    await server.kill()
    rmSync(data, { recursive: true, force: true })
    const shown = states.map(state => `${MB(one[state].all)} MB ${state}`)
    context.progress(`round ${round}, ${name}: ${shown.join(', ')}`)
    return one
  })
  const all = (name: (typeof names)[number], state: State) =>
    measured[name].map(round => round[state].all)
  const verdicts = (['at rest after filling', 'at rest after reading'] as const).map(state =>
    ratio(
      `resident, ${state}: holdfast / memcached`,
      all('holdfast', state),
      all('memcached', state),
      {
        atMost: 0.7,
      },
    ),
  )
  const rows = names.flatMap(name => states.map(state => rowOf(name, state, measured[name], keys)))
  return {
    settings: { keys, valueBytes, restSeconds, rounds },
    rows,
    plot: 'resident MB',
    verdicts,
  }
}

/** What is read of the mapped files stays in the page cache, and counts as resident. */
async function measure(
  server: MeasuredServer,
  { keys, seconds, restMs }: { keys: number; seconds: number; restMs: number },
): Promise<Round> {
  await untilQuiet(server.pid)
  const empty = residentBytes(server.pid)
  await fill(server, { keys, valueBytes })
  await untilQuiet(server.pid)
  await sleep(restMs)
  const filled = residentBytes(server.pid)
  await load(server, { keys, valueBytes, connections: 32, pipeline: 32, seconds })
  await untilQuiet(server.pid)
  await sleep(restMs)
  const read = residentBytes(server.pid)
  return { empty, 'at rest after filling': filled, 'at rest after reading': read }
}

function rowOf(server: string, state: State, rounds: readonly Round[], keys: number): Row {
  const spread = (kind: keyof Resident) => spreadOf(rounds.map(round => MB(round[state][kind])))
  const added = rounds.map(round => round[state].all - round.empty.all)
  return {
    state,
    server,
    'resident MB': spread('all'),
    'of it anonymous MB': spread('anonymous'),
    'of it pages of files MB': spread('file'),
    ...(state === 'empty'
      ? {}
      : { 'MB per million documents': spreadOf(added.map(bytes => MB(bytes) / (keys / 1e6))) }),
  }
}

function MB(bytes: number): number {
  return Math.round(bytes / 1e6)
}
