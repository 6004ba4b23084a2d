/** Those who are compared under key-value loads, all running and filled. */
import { resolve } from 'node:path'
import type { Context, Row, Verdict } from './benchmark.ts'
import { benchmarkDaemon } from './daemon.ts'
import { fill, type Documents, type Load } from './load/load-driver.ts'
import {
  loadColumns,
  measureLoad,
  type MeasuredLoad,
  type MeasuredServer,
} from './measured-load.ts'
import { startMemcached } from './peers/memcached.ts'
import { startRedis } from './peers/redis.ts'
import { startServerProcess } from './server-process.ts'
import { untilQuiet } from './process-usage.ts'
import { inTurns } from './rounds.ts'
import { ratio } from './spread.ts'

export const serverNames = ['holdfast', 'memcached', 'redis'] as const
/** What there is to reach: see limits/bare-server.ts. */
export const limitName = 'limit: bare Node.js'
type ServerName = (typeof serverNames)[number] | typeof limitName
/** Those who are compared, which need not be all. */
type Servers = Readonly<Partial<Record<ServerName, MeasuredServer>>>
type FilledServers = Readonly<Record<(typeof serverNames)[number], MeasuredServer>>

export const mixes = {
  'GET-heavy': { gets: 10, sets: 1 },
  'SET-heavy': { gets: 1, sets: 10 },
} as const
export type Mix = keyof typeof mixes

/** Those who are not measured at the moment only wait, which costs next to nothing. */
export async function filledServers(
  context: Context,
  documents: Documents,
): Promise<FilledServers> {
  const servers = {
    holdfast: await benchmarkDaemon(context),
    memcached: await startMemcached(context),
    redis: await startRedis(context, 'everysec'),
  }
  for (const name of serverNames) {
    context.progress(`storing ${documents.keys} documents of ${documents.valueBytes} B in ${name}`)
    await fill(servers[name], documents)
    await untilQuiet(servers[name].pid)
  }
  return servers
}

const bareProgram = resolve(import.meta.dirname, 'limits/bare-server.js')

/** On the same Node.js as the daemon. */
export async function startBareServer(
  context: Context,
  valueBytes: number,
): Promise<MeasuredServer> {
  const child = await startServerProcess(context, {
    command: context.node,
    args: [bareProgram, String(valueBytes)],
    ready: /listening on (\d+)/,
  })
  return { ...child, port: Number(child.ready[1]), protocol: 'memcached', vbuckets: 0 }
}

type Measured = Readonly<Partial<Record<ServerName, MeasuredLoad[]>>>

/** The same load on each of them. */
export class Comparison {
  readonly #what: string
  readonly #measured: Measured

  private constructor(what: string, measured: Measured) {
    this.#what = what
    this.#measured = measured
  }

  static async of(
    context: Context,
    servers: Servers,
    { what, rounds, ...plan }: Load & { readonly what: string; readonly rounds: number },
  ): Promise<Comparison> {
    // Once without counting: code is compiled when it has run a while.
    const warmUp = { ...plan, seconds: Math.min(1, plan.seconds) }
    const names = Object.keys(servers) as ServerName[]
    for (const name of names) await measureLoad(servers[name]!, warmUp)
    const measured = await inTurns(rounds, names, async (name, round) => {
      const one = await measureLoad(servers[name]!, { ...plan, seed: round })
      context.progress(`${what}, round ${round}, ${name}: ${describe(one)}`)
      return one
    })
    return new Comparison(what, measured)
  }

  /** A row for each server, behind the columns that say what was asked of it. */
  rows(asked: Row): Row[] {
    return Object.entries(this.#measured).map(([server, measured]) => ({
      ...asked,
      server,
      ...loadColumns(measured),
    }))
  }

  /** How many times the throughput of a peer is wanted. */
  verdicts(wanted: Partial<Record<ServerName, number>>): Verdict[] {
    const speeds = (name: ServerName) => this.#measured[name]!.map(({ perSecond }) => perSecond)
    return Object.entries(wanted).map(([name, atLeast]) => {
      const peer = name as ServerName
      const figure = `${this.#what}: holdfast / ${peer}`
      return ratio(figure, speeds('holdfast'), speeds(peer), { atLeast })
    })
  }
}

export function describe({ perSecond, serverMicroseconds }: MeasuredLoad): string {
  const speed = Math.round(perSecond).toLocaleString('en')
  return `${speed} operations/s, ${serverMicroseconds.toFixed(2)} µs of CPU each`
}
