/**
 * The load driver: compiles it once and runs it as a process of its own. It is written in C, as
 * it has to be quicker than the servers that it measures; what it saw comes back as histograms.
 */
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { build, type Histogram } from 'hdr-histogram-js'

const run = promisify(execFile)
const sources = resolve(import.meta.dirname, '../../../benchmark/load')
const program = join(import.meta.dirname, 'load')
const outputBytesMax = 64 * 2 ** 20

export interface Server {
  readonly port: number
  readonly protocol: 'memcached' | 'resp'
  /** How many vbuckets keys are mapped to; 0 for a server that knows none. */
  readonly vbuckets: number
}

/** What is stored, or stored already. */
export interface Documents {
  readonly keys: number
  readonly valueBytes: number
}

export interface Load extends Documents {
  readonly connections: number
  readonly seconds: number
  readonly warmupSeconds?: number
  /** Requests under way on each connection; 1 unless told, and nothing with `rate`. */
  readonly pipeline?: number
  /** Operations a second, whether or not those before have been answered. */
  readonly rate?: number
  /** In which proportion; only GETs unless told. */
  readonly gets?: number
  readonly sets?: number
  /** Exponent of a zipfian distribution of keys; uniform unless told. */
  readonly skew?: number
  readonly seed?: number
}

export interface Measured {
  readonly operations: number
  readonly perSecond: number
  readonly misses: number
  /** The share of a processor that the driver itself took; near 1 it is what was measured. */
  readonly driverShare: number
  /** Latencies in nanoseconds, from when an operation was due to its whole answer. */
  readonly latencies: Histogram
}

interface Printed {
  readonly operations: number
  readonly misses: number
  readonly failures: number
  readonly seconds: number
  readonly processorShare: number
  readonly latenciesNs: readonly (readonly [number, number])[]
}

let compiled: Promise<unknown> | undefined

/** Stores every key once. */
export async function fill(server: Server, { keys, valueBytes }: Documents): Promise<Measured> {
  return await drive(server, { keys, valueBytes, connections: 8, pipeline: 64 }, ['--fill'])
}

export async function load(server: Server, { warmupSeconds, ...plan }: Load): Promise<Measured> {
  return await drive(server, { ...plan, warmup: warmupSeconds ?? 0.5 }, [])
}

async function drive(server: Server, settings: object, flags: string[]): Promise<Measured> {
  await (compiled ??= compile())
  const args = Object.entries({ ...server, ...settings }).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${dashed(name)}`, String(value)],
  )
  const { stdout } = await run(program, [...args, ...flags], { maxBuffer: outputBytesMax })
  const printed = JSON.parse(stdout) as Printed
  if (printed.failures > 0) throw new Error(`${printed.failures} operations were refused`)
  const latencies = emptyHistogram()
  for (const [ns, count] of printed.latenciesNs) latencies.recordValueWithCount(ns, count)
  return {
    operations: printed.operations,
    perSecond: printed.operations / printed.seconds,
    misses: printed.misses,
    driverShare: printed.processorShare,
    latencies,
  }
}

/** For nanoseconds up to an hour, to three digits. */
export function emptyHistogram(): Histogram {
  return build({
    highestTrackableValue: 3.6e12,
    numberOfSignificantValueDigits: 3,
    bitBucketSize: 64,
  })
}

async function compile(): Promise<void> {
  const files = readdirSync(sources).filter(file => file.endsWith('.c'))
  const paths = files.map(file => join(sources, file))
  await run('cc', ['-std=c11', '-O2', '-Wall', '-Wextra', '-o', program, ...paths, '-lm'])
}

function dashed(name: string): string {
  return name.replace(/[A-Z]/gu, letter => `-${letter.toLowerCase()}`)
}
