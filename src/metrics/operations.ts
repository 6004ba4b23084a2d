import { opcodeName } from '../../protocol/opcode.ts'
import { statusName } from '../../protocol/status.ts'
import {
  latencyPlaces,
  statusPlaces,
  type OperationCounters,
} from '../server/operation-counters.ts'
import type { CountedDurations, MetricsRegistry, Sample } from './registry.ts'
import { only } from './registry.ts'

/** Powers of two from 16 µs to 16.8 s: what is faster or slower falls into the first or last. */
const shortestPlace = 4
const longestPlace = 24
const boundsSeconds = Array.from(
  { length: longestPlace - shortestPlace + 1 },
  (_, index) => 2 ** (shortestPlace + index) / 1e6,
)

/** What the server tells of itself. */
export interface MeasuredServer {
  readonly counters: OperationCounters
  readonly connections: number
  /** Of answers that clients have not taken yet. */
  readonly budget: Budget
  /** Of requests that have arrived in part. */
  readonly intakeBudget: Budget
}

interface Budget {
  readonly totalBytes: number
  readonly evictions: number
}

/** Requests and their answers, connections and traffic. */
export function registerOperations(registry: MetricsRegistry, server: MeasuredServer): void {
  const { counters, budget, intakeBudget } = server
  registry.counter(
    {
      name: 'holdfast_operations_total',
      help: 'Requests answered, by operation and status.',
      labels: ['operation', 'status'],
    },
    () => answers(counters),
  )
  registry.histogram(
    {
      name: 'holdfast_operation_duration_seconds',
      help:
        'Time from a request being read to its answer being written, by operation. ' +
        'Of requests answered at once one in 32 is timed and counts 32 times.',
      labels: ['operation'],
    },
    boundsSeconds,
    () => durations(counters),
  )
  const plain = [
    ['holdfast_requests_refused_total', 'Frames that named no command.', 'framesRefused'],
    ['holdfast_connections_accepted_total', 'Connections accepted.', 'connectionsAccepted'],
    ['holdfast_connections_refused_total', 'Connections beyond the limit.', 'connectionsRefused'],
    [
      'holdfast_connections_late_total',
      'Connections closed because nobody logged in, or a request was left half sent.',
      'connectionsLate',
    ],
    ['holdfast_bytes_read_total', 'Bytes read from clients.', 'bytesRead'],
    ['holdfast_bytes_written_total', 'Bytes written to clients.', 'bytesWritten'],
  ] as const
  for (const [name, help, field] of plain) {
    registry.counter({ name, help }, () => only(counters[field]))
  }
  registry.gauge({ name: 'holdfast_connections', help: 'Connections open.' }, () =>
    only(server.connections),
  )
  registry.gauge(
    { name: 'holdfast_unread_answer_bytes', help: 'Memory held for answers not taken yet.' },
    () => only(budget.totalBytes),
  )
  registry.gauge(
    { name: 'holdfast_partial_request_bytes', help: 'Memory held for requests arrived in part.' },
    () => only(intakeBudget.totalBytes),
  )
  registry.counter(
    {
      name: 'holdfast_connections_evicted_total',
      help: 'Connections closed because they made the server keep most, and memory ran short.',
    },
    () => only(budget.evictions + intakeBudget.evictions),
  )
}

function* answers(counters: OperationCounters): Iterable<Sample<'operation' | 'status'>> {
  for (let opcode = 0; opcode < 256; opcode++) {
    for (let status = 0; status < statusPlaces; status++) {
      const value = counters.answer(opcode, status)
      if (value === 0) continue
      const labels = { operation: opcodeName(opcode), status: answerName(status) }
      yield { labels, value }
    }
  }
}

function* durations(counters: OperationCounters): Iterable<CountedDurations<'operation'>> {
  for (let opcode = 0; opcode < 256; opcode++) {
    const places = counters.latencies.subarray(opcode * latencyPlaces, (opcode + 1) * latencyPlaces)
    if (places.every(count => count === 0)) continue
    const sum = (from: number, to: number): number =>
      places.subarray(from, to).reduce((total, count) => total + count, 0)
    yield {
      labels: { operation: opcodeName(opcode) },
      counts: [
        sum(0, shortestPlace + 1),
        ...places.subarray(shortestPlace + 1, longestPlace + 1),
        sum(longestPlace + 1, latencyPlaces),
      ],
      sumSeconds: counters.latencySumMs[opcode]! / 1000,
    }
  }
}

/** Statuses that do not fit the counters' one byte share its last place. */
function answerName(status: number): string {
  return status === statusPlaces - 1 ? 'other' : statusName(status)
}
