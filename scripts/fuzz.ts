/**
 * `npm run fuzz -- --seconds 600`: mutated requests against a daemon for as long as wanted, with a
 * new seed every minute. A failure prints its seed and keeps what was sent last and the log.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { fuzz, fuzzFlags, type FuzzReport } from '../test/fuzz/fuzzer.ts'
import { seedOf } from '../test/fuzz/seeded.ts'
import { startDaemon, type DaemonProcess } from '../test/support/start-daemon.ts'

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '600' },
    seed: { type: 'string' },
    lanes: { type: 'string', default: '16' },
    'deadline-seconds': { type: 'string', default: '30' },
  },
})
const roundMs = 60_000
const endMs = performance.now() + Number(flags.seconds) * 1000

let seed = seedOf(flags.seed ?? process.env['SEED'])
let failed = false
while (!failed && performance.now() < endMs) {
  failed = !(await round(seed, Math.min(roundMs, endMs - performance.now())))
  seed++
}
process.exitCode = failed ? 1 : 0

/** One daemon, one seed. Whether all went well. */
async function round(seed: number, timeMaxMs: number): Promise<boolean> {
  const data = mkdtempSync(join(tmpdir(), 'holdfast-fuzz-'))
  const teardowns: (() => Promise<unknown>)[] = []
  const test = {
    teardown: (end: () => Promise<unknown>) => teardowns.push(end),
    testdir: () => data,
  }
  const daemon = await startDaemon(test, { flags: fuzzFlags })
  say(`seed ${seed}: daemon ${daemon.pid} on port ${daemon.port}\n`)
  const report = await fuzz({
    port: daemon.port,
    exited: daemon.exited,
    seed,
    lanes: Number(flags.lanes),
    framesMax: Infinity,
    timeMaxMs,
    deadlineMs: Number(flags['deadline-seconds']) * 1000,
    onProgress: ({ frames }) => say(`\r  ${frames} requests`),
  })
  const reached = report.failure === undefined ? await answersByStatus(daemon) : ''
  const problem = report.failure ?? (await stopAndLook(daemon))
  describe(report, reached)
  if (problem !== undefined) keep(seed, problem, report, daemon)
  for (const end of teardowns) await end()
  rmSync(data, { recursive: true, force: true })
  return problem === undefined
}

async function stopAndLook(daemon: DaemonProcess): Promise<unknown> {
  const code = await daemon.stop()
  if (code !== 0) return `it stopped with ${code}`
  return daemon.stderr.find(line => /"level":"(error|fatal)"/.test(line))
}

/** How deep requests got: answers by status, as the daemon counts them. */
async function answersByStatus({ host, httpPort }: DaemonProcess): Promise<string> {
  const page = await (await fetch(`http://${host}:${httpPort}/metrics`)).text()
  const counts = new Map<string, number>()
  for (const [, labels, count] of page.matchAll(/^holdfast_operations_total\{(.+)\} (\d+)$/gm)) {
    const status = /status="([^"]+)"/.exec(labels!)?.[1] ?? '?'
    counts.set(status, (counts.get(status) ?? 0) + Number(count))
  }
  const sorted = [...counts].sort(([, one], [, other]) => other - one)
  return sorted.map(([status, count]) => `    ${status} ${count}\n`).join('')
}

function describe({ tally, tookMs, guardRounds, guardSlowestMs }: FuzzReport, reached: string) {
  const { frames, connections, answers, closed, abandoned } = tally
  say(
    `\r  ${frames} requests in ${(tookMs / 1000).toFixed(0)} s, ${answers} answers\n` +
      `  ${connections} connections, ${closed} closed by the server, ${abandoned} left waiting\n` +
      `  a client beside it: ${guardRounds} rounds, slowest ${guardSlowestMs.toFixed(0)} ms\n` +
      reached,
  )
}

function keep(seed: number, problem: unknown, { recent }: FuzzReport, { stderr }: DaemonProcess) {
  const folder = resolve(`fuzz-failure-${seed}`)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'log.txt'), stderr.join('\n'))
  for (const [lane, batches] of recent.entries()) {
    for (const [index, bytes] of batches.entries()) {
      writeFileSync(join(folder, `lane-${lane}-${index}.bin`), bytes)
    }
  }
  say(`FAILED with --seed ${seed}: ${String(problem)}\n  see ${folder}\n`)
}

function say(text: string): void {
  process.stdout.write(text)
}
