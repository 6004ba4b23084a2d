/** A load on a server, with what it cost the server. */
import { load, type Load, type Measured, type Server } from './load/load-driver.ts'
import { processorSeconds, untilQuiet } from './process-usage.ts'
import type { ServerProcess } from './server-process.ts'
import { spreadOf } from './spread.ts'
import type { Row } from './benchmark.ts'

export type MeasuredServer = Server & Pick<ServerProcess, 'pid'>

export interface MeasuredLoad extends Measured {
  /** Processor time of the server, of all its threads, for each operation. */
  readonly serverMicroseconds: number
}

/**
 * Ends when the server is done with everything that follows from the load: what it puts off
 * until after its answers, as writing to the disk, is part of what an operation costs, and would
 * otherwise fall upon the next one who is measured.
 */
export async function measureLoad(server: MeasuredServer, plan: Load): Promise<MeasuredLoad> {
  const before = processorSeconds(server.pid)
  const measured = await load(server, plan)
  await untilQuiet(server.pid)
  const seconds = processorSeconds(server.pid) - before
  return { ...measured, serverMicroseconds: (1e6 * seconds) / measured.operationsInAll }
}

/** The columns of a table for one load that was measured several times. */
export function loadColumns(rounds: readonly MeasuredLoad[]): Row {
  const microseconds = (percentile: number) =>
    spreadOf(rounds.map(({ latencies }) => latencies.getValueAtPercentile(percentile) / 1000))
  return {
    'operations/s': spreadOf(rounds.map(({ perSecond }) => perSecond)),
    'server CPU µs/operation': spreadOf(rounds.map(one => one.serverMicroseconds)),
    'p50 µs': microseconds(50).median,
    'p99 µs': microseconds(99).median,
    misses: rounds.reduce((sum, { misses }) => sum + misses, 0),
    'driver CPU': spreadOf(rounds.map(({ driverShare }) => driverShare)).median,
  }
}
