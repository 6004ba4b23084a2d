/** The daemon under test: the one of this build, as a user runs it, ended with the case. */
import { join, resolve } from 'node:path'
import type { Context } from './benchmark.ts'
import type { Server } from './load/load-driver.ts'
import { startServerProcess, type ServerProcess } from './server-process.ts'

export const vbucketCount = 1024

const program = resolve(import.meta.dirname, '../bin/holdfastd.js')
const readyLine = /^holdfastd ready on .+:(\d+), http on .+:(\d+), data/m

export interface Daemon extends Server, ServerProcess {
  readonly data: string
  readonly httpPort: number
  /** From the start of the process to its being ready. */
  readonly readySeconds: number
}

export interface DaemonOptions {
  readonly flags?: readonly string[]
  /** The folder of an earlier one, to start on what it left. */
  readonly data?: string
}

/** Flags of those that store data elsewhere than in `folder/data` go with `data`. */
export async function benchmarkDaemon(
  context: Context,
  { flags = [], data = join(context.folder, 'data') }: DaemonOptions = {},
): Promise<Daemon> {
  const profiling =
    context.profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${context.profiles}`]
  const places = ['--port', '0', '--http-port', '0', '--data', data, '--log-level', 'warn']
  const started = performance.now()
  const child = await startServerProcess(context, {
    command: context.node,
    args: [...profiling, program, ...places, ...flags],
    env: environmentWithoutSettings(),
    // A profile is written at a clean end only.
    endWith: context.profiles === undefined ? 'SIGKILL' : 'SIGTERM',
    ready: readyLine,
  })
  const readySeconds = (performance.now() - started) / 1000
  return {
    ...child,
    port: Number(child.ready[1]),
    httpPort: Number(child.ready[2]),
    protocol: 'memcached',
    vbuckets: vbucketCount,
    data,
    readySeconds,
  }
}

function environmentWithoutSettings(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_')),
  )
}

/** A metric of the daemon, summed over its labels. */
export async function metric({ httpPort }: Daemon, name: string): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${httpPort}/metrics`)
  const lines = (await answer.text()).split('\n')
  const values = lines.filter(line => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
  if (values.length === 0) throw new Error(`there is no metric ${name}`)
  return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
}
