/**
 * `npm run benchmark`: runs every case, or those named with `--case`, prints a table for each, and
 * keeps the figures in `benchmark/results`. With `--check` a figure that is missed is a failure.
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { isMet, wanted, type Benchmark, type Outcome } from './benchmark.ts'
import { nodeBinary } from './node-binary.ts'
import { patience } from './process-usage.ts'
import { writeReport } from './report.ts'
import { assertAllThere } from './requirements.ts'
import { keepResult } from './results.ts'
import { show, table } from './table.ts'

const { values: flags } = parseArgs({
  options: {
    case: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false },
    node: { type: 'string' },
    folder: { type: 'string', default: tmpdir() },
  },
})

if (flags.profile) patience.quietSecondsMax = 2

/** What has to end, whatever happens: the last one first. */
const ends: (() => Promise<unknown> | void)[] = []

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    say(`\n${signal}: ending what was started\n`)
    void cleanUp().finally(() => process.exit(1))
  })
}

if (flags.report) await writeReport()
else await runCases()

async function runCases(): Promise<void> {
  const chosen = await cases()
  assertAllThere(chosen.flatMap(({ needs }) => needs))
  const node = nodeBinary(flags.node)
  // Also when a signal ends this.
  process.once('exit', () => node.remove())
  say(`the daemon runs on Node.js ${node.version}\n`)
  if (!flags.quick) say(plan(chosen))
  let allMet = true
  for (const benchmark of chosen) {
    say(`\n${benchmark.name}: ${benchmark.about}\n`)
    const loadBefore = loadavg()[0]!
    const began = performance.now()
    const outcome = await runCase(benchmark, node.path)
    const minutes = (performance.now() - began) / 60_000
    print(outcome)
    say(`${benchmark.name} took ${minutes.toFixed(1)} minutes\n`)
    allMet &&= outcome.verdicts.every(verdict => isMet(verdict))
    // A profiler slows down what it looks at.
    const isToKeep = !flags.quick && !flags.profile
    const about = { node: node.version, loadBefore, minutes }
    if (isToKeep) await keepResult(benchmark, outcome, about)
  }
  if (!flags.quick && !flags.profile) await writeReport()
  if (flags.check && !allMet) process.exitCode = 1
}

/** What is going to run, and until when. */
function plan(chosen: readonly Benchmark[]): string {
  const all = chosen.reduce((sum, { minutes }) => sum + minutes, 0)
  const end = new Date(Date.now() + all * 60_000).toTimeString().slice(0, 5)
  const rows = chosen.map(({ name, minutes }) => ({ case: name, 'minutes, about': minutes }))
  return `\n${table(rows)}\n\nabout ${all} minutes in all, until ${end}\n`
}

async function cases(): Promise<Benchmark[]> {
  const folder = join(import.meta.dirname, 'cases')
  const files = readdirSync(folder).filter(file => file.endsWith('.js'))
  const all = await Promise.all(
    files.sort().map(async file => {
      const module = (await import(join(folder, file))) as { benchmark: Benchmark }
      return module.benchmark
    }),
  )
  const names = flags.case
  for (const name of names ?? []) {
    if (all.some(benchmark => benchmark.name === name)) continue
    throw new Error(`there is no case ${name}, but: ${all.map(one => one.name).join(', ')}`)
  }
  return all.filter(({ name }) => names === undefined || names.includes(name))
}

async function runCase(benchmark: Benchmark, node: string): Promise<Outcome> {
  const folder = mkdtempSync(join(flags.folder, 'holdfast-benchmark-'))
  ends.push(() => rmSync(folder, { recursive: true, force: true }))
  const profiles = flags.profile ? profileFolder(benchmark) : undefined
  try {
    return await benchmark.run({
      folder,
      quick: flags.quick,
      node,
      profiles,
      progress: line => say(`  ${line}\n`),
      cleanUp: end => ends.push(end),
    })
  } finally {
    await cleanUp()
  }
}

async function cleanUp(): Promise<void> {
  for (let end = ends.pop(); end !== undefined; end = ends.pop()) await end()
}

function profileFolder({ name }: Benchmark): string {
  const folder = mkdtempSync(join(flags.folder, `holdfast-profile-${name}-`))
  say(`  CPU profiles, one for each daemon: ${folder}\n`)
  return folder
}

function print({ rows, verdicts }: Outcome): void {
  say(`\n${table(rows)}\n\n`)
  for (const verdict of verdicts) {
    const met = isMet(verdict) ? 'met' : 'MISSED'
    say(`${verdict.figure}: ${show(verdict.value)}, wanted ${wanted(verdict)}: ${met}\n`)
  }
}

function say(text: string): void {
  process.stdout.write(text)
}
