/**
 * A million mutated requests: the daemon neither crashes nor hangs, serves others meanwhile, and
 * its data is whole afterwards. `SEED=17 npm test` repeats the bytes of a run; `npm run fuzz` goes
 * on for longer.
 */
import t from 'tap'
import { documentsOf, readBucket } from '../integration/clients.ts'
import { MemoryWatch } from '../integration/process-memory.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { fuzz, fuzzFlags } from './fuzzer.ts'
import { seedOf } from './seeded.ts'

t.setTimeout(5 * 60_000)

const framesMax = 1_000_000
/** On a machine that is busy otherwise, what has been sent until then has to do. */
const timeMaxMs = 40_000

t.test('a million mutated requests neither crash the daemon nor make it hang', async t => {
  const seed = seedOf(process.env['SEED'])
  t.comment(`SEED=${seed}`)
  const daemon = await startDaemon(t, { flags: [...fuzzFlags, '--log-level=warn'] })
  const watch = new MemoryWatch(t, daemon.pid)
  const { port, exited } = daemon
  const report = await fuzz({
    port,
    exited,
    seed,
    framesMax,
    timeMaxMs,
    lanes: 8,
    deadlineMs: 20_000,
  })
  const { tally, tookMs, guardRounds, guardSlowestMs, failure } = report
  t.comment(`${tally.frames} requests in ${Math.round(tookMs)} ms, ${tally.answers} answers`)
  t.comment(`${tally.connections} connections, ${tally.closed} of them closed by the server`)
  t.comment(`a client beside it: ${guardRounds} rounds, slowest ${Math.round(guardSlowestMs)} ms`)
  t.equal(failure, undefined, `SEED=${seed}`)
  t.ok(tally.frames > framesMax / 20, 'enough was sent to mean something')
  t.ok(guardRounds > 20)
  t.ok(watch.stop() < 1024, `${Math.round(watch.peakMiB)} MiB of memory at most`)
  t.equal(await daemon.stop(), 0, 'it stops as it should')
  const unforeseen = daemon.stderr.filter(line =>
    /"level":"(error|fatal)"|^\S*Error|^\s+at /.test(line),
  )
  t.same(unforeseen.slice(0, 5), [], `${unforeseen.length} things happened that were not foreseen`)

  const second = await startDaemon(t, { data: daemon.data, flags: fuzzFlags })
  t.notOk(second.stderr.some(line => line.includes('not clean')))
  t.ok(documentsOf(await readBucket(second)).size > 0, 'and what it stored can be read')
  t.equal(await second.stop(), 0)
})
