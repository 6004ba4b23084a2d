/**
 * The load driver: compiles it once and runs it as a process of its own. It is written in C, as
 * it has to be quicker than the servers that it measures; what it saw comes back as histograms.
 */
import { build, type Histogram } from 'hdr-histogram-js'
import { cProgram, runForJson } from '../c-program.ts'

const files = ['connections', 'histogram', 'keys', 'load', 'protocol']
const driver = { name: 'load', sources: files.map(name => `load/${name}.c`), libraries: ['m'] }

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
  /**
   * The driver gets a processor the moment it wants one (SCHED_FIFO, which takes a privilege), as a
   * client on a machine of its own would. Only with `rate`: it would leave nothing to the others.
   */
  readonly undisturbed?: boolean
}

export interface Measured {
  readonly operations: number
  /** Those of the warm-up too. */
  readonly operationsInAll: number
  readonly perSecond: number
  readonly misses: number
  /** The share of a processor that the driver itself took; near 1 it is what was measured. */
  readonly driverShare: number
  /** Latencies in nanoseconds, from when an operation was due to its whole answer. */
  readonly latencies: Histogram
}

interface Printed {
  readonly operations: number
  readonly operationsInAll: number
  readonly misses: number
  readonly failures: number
  readonly seconds: number
  readonly processorShare: number
  readonly latenciesNs: readonly (readonly [number, number])[]
}

/** Stores every key once. */
export async function fill(server: Server, { keys, valueBytes }: Documents): Promise<Measured> {
  return await drive(server, { keys, valueBytes, connections: 8, pipeline: 64 }, ['--fill'])
}

export async function load(server: Server, load: Load): Promise<Measured> {
  const { warmupSeconds, undisturbed, ...plan } = load
  const command = undisturbed ? ['chrt', '--fifo', '1'] : []
  return await drive(server, { ...plan, warmup: warmupSeconds ?? 0.5 }, [], command)
}

/** `command`: what the driver is started by, if it is not started directly. */
async function drive(
  { port, protocol, vbuckets }: Server,
  settings: object,
  flags: string[],
  command: readonly string[] = [],
): Promise<Measured> {
  const driverArgs = Object.entries({ port, protocol, vbuckets, ...settings }).flatMap(
    ([name, value]) => (value === undefined ? [] : [`--${dashed(name)}`, String(value)]),
  )
  const [program, ...args] = [...command, await cProgram(driver), ...driverArgs, ...flags]
  const printed = (await runForJson(program!, args)) as Printed
  if (printed.failures > 0) throw new Error(`${printed.failures} operations were refused`)
  const latencies = emptyHistogram()
  for (const [ns, count] of printed.latenciesNs) latencies.recordValueWithCount(ns, count)
  return {
    operations: printed.operations,
    operationsInAll: printed.operationsInAll,
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

function dashed(name: string): string {
  return name.replace(/[A-Z]/gu, letter => `-${letter.toLowerCase()}`)
}
