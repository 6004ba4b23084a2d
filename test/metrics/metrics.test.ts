import t from 'tap'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { registerOperations } from '../../src/metrics/operations.ts'
import { MetricsRegistry, only } from '../../src/metrics/registry.ts'
import { OperationCounters } from '../../src/server/operation-counters.ts'

/** The lines that begin with `name`, of a metrics page. */
const linesOf = (page: string, name: string): string[] =>
  page.split('\n').filter(line => line.startsWith(name))

const serverWith = (counters: OperationCounters) => ({
  counters,
  connections: 3,
  budget: { totalBytes: 4096, evictions: 1 },
  intakeBudget: { totalBytes: 512, evictions: 2 },
})

t.test('operations are counted by name and status', async t => {
  const registry = new MetricsRegistry()
  const counters = new OperationCounters()
  registerOperations(registry, serverWith(counters))
  counters.count(Opcode.get, Status.success)
  counters.count(Opcode.get, Status.success)
  counters.count(Opcode.get, Status.keyNotFound)
  counters.count(Opcode.set, 0x1234)
  const page = await registry.text()
  t.same(linesOf(page, 'holdfast_operations_total'), [
    'holdfast_operations_total{operation="get",status="success"} 2',
    'holdfast_operations_total{operation="get",status="keyNotFound"} 1',
    'holdfast_operations_total{operation="set",status="other"} 1',
  ])
  t.same(linesOf(page, 'holdfast_connections '), ['holdfast_connections 3'])
  t.same(linesOf(page, 'holdfast_unread'), ['holdfast_unread_answer_bytes 4096'])
  t.same(linesOf(page, 'holdfast_partial'), ['holdfast_partial_request_bytes 512'])
  t.same(linesOf(page, 'holdfast_connections_evicted'), ['holdfast_connections_evicted_total 3'])
})

t.test('latencies become a cumulative histogram of all that was timed', async t => {
  const registry = new MetricsRegistry()
  const counters = new OperationCounters()
  registerOperations(registry, serverWith(counters))
  for (const durationMs of [0.001, 0.02, 0.5, 3, 60_000]) counters.time(Opcode.get, durationMs, 1)
  const page = await registry.text()
  const name = 'holdfast_operation_duration_seconds'
  const valueOf = (labels: string): number =>
    Number(linesOf(page, `${name}${labels}`)[0]?.split(' ').at(-1))
  t.equal(valueOf('_bucket{operation="get",le="0.000016"}'), 1)
  t.equal(valueOf('_bucket{operation="get",le="0.000032"}'), 2)
  t.equal(valueOf('_bucket{operation="get",le="0.000512"}'), 3)
  t.equal(valueOf('_bucket{operation="get",le="16.777216"}'), 4)
  t.equal(valueOf('_bucket{operation="get",le="+Inf"}'), 5)
  t.equal(valueOf('_count{operation="get"}'), 5)
  t.equal(valueOf('_sum{operation="get"}'), 60.003521)
})

t.test('a second scrape adds nothing', async t => {
  const registry = new MetricsRegistry()
  const counters = new OperationCounters()
  registerOperations(registry, serverWith(counters))
  counters.bytesRead = 10
  await registry.text()
  t.same(linesOf(await registry.text(), 'holdfast_bytes_read_total '), [
    'holdfast_bytes_read_total 10',
  ])
})

t.test('two daemons in one process do not share metrics', async t => {
  const one = new MetricsRegistry()
  const other = new MetricsRegistry()
  one.gauge({ name: 'holdfast_test', help: 'A test.' }, () => only(1))
  other.gauge({ name: 'holdfast_test', help: 'A test.' }, () => only(2))
  t.match(await one.text(), /^holdfast_test 1$/m)
  t.match(await other.text(), /^holdfast_test 2$/m)
})

t.test('the process tells its memory and the lag of its event loop', async t => {
  const page = await new MetricsRegistry().text()
  t.match(page, /^process_resident_memory_bytes \d+$/m)
  t.match(page, /^nodejs_eventloop_lag_p99_seconds /m)
})
