/** Those who are compared under key-value loads, all running and filled. */
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
import { untilQuiet } from './process-usage.ts'
import { inTurns } from './rounds.ts'
import { ratio } from './spread.ts'

export const serverNames = ['holdfast', 'memcached', 'redis'] as const
type ServerName = (typeof serverNames)[number]
type Servers = Readonly<Record<ServerName, MeasuredServer>>

export const mixes = {
  'GET-heavy': { gets: 10, sets: 1 },
  'SET-heavy': { gets: 1, sets: 10 },
} as const
export type Mix = keyof typeof mixes

/** Those who are not measured at the moment only wait, which costs next to nothing. */
export async function filledServers(context: Context, documents: Documents): Promise<Servers> {
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

/** The same load on each of them. */
export class Comparison {
  readonly #what: string
  readonly #measured: Record<ServerName, MeasuredLoad[]>

  private constructor(what: string, measured: Record<ServerName, MeasuredLoad[]>) {
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
    for (const name of serverNames) await measureLoad(servers[name], warmUp)
    const measured = await inTurns(rounds, serverNames, async (name, round) => {
      const one = await measureLoad(servers[name], { ...plan, seed: round })
      context.progress(`${what}, round ${round}, ${name}: ${describe(one)}`)
      return one
    })
    return new Comparison(what, measured)
  }

  /** A row for each server, behind the columns that say what was asked of it. */
  rows(asked: Row): Row[] {
    return serverNames.map(name => ({
      ...asked,
      server: name,
      ...loadColumns(this.#measured[name]),
    }))
  }

  /** How many times the throughput of a peer is wanted. */
  verdicts(wanted: Partial<Record<ServerName, number>>): Verdict[] {
    const speeds = (name: ServerName) => this.#measured[name].map(({ perSecond }) => perSecond)
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
