/**
 * `npm run benchmark`: runs every case, or those named with `--only`, prints a table for each, and
 * keeps the figures in `benchmark/results`. With `--check` a figure that is missed is a failure.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir, totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { isMet, type Benchmark, type Outcome } from './benchmark.ts'
import { show, table } from './table.ts'

const root = resolve(import.meta.dirname, '../..')
const results = join(root, 'benchmark/results')

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    folder: { type: 'string', default: tmpdir() },
  },
})

let allMet = true
for (const benchmark of await cases()) {
  say(`\n${benchmark.name}: ${benchmark.about}\n`)
  const load = loadavg()[0]!
  const outcome = await runCase(benchmark)
  print(outcome)
  allMet &&= outcome.verdicts.every(verdict => isMet(verdict))
  if (!flags.quick) keep(benchmark, outcome, load)
}
if (flags.check && !allMet) process.exitCode = 1

async function cases(): Promise<Benchmark[]> {
  const folder = join(import.meta.dirname, 'cases')
  const files = readdirSync(folder).filter(file => file.endsWith('.js'))
  const all = await Promise.all(
    files.sort().map(async file => {
      const module = (await import(join(folder, file))) as { benchmark: Benchmark }
      return module.benchmark
    }),
  )
  const { only } = flags
  for (const name of only ?? []) {
    if (!all.some(benchmark => benchmark.name === name)) throw new Error(`there is no case ${name}`)
  }
  return all.filter(({ name }) => only === undefined || only.includes(name))
}

async function runCase(benchmark: Benchmark): Promise<Outcome> {
  const folder = mkdtempSync(join(flags.folder, 'holdfast-benchmark-'))
  const ends: (() => Promise<unknown> | void)[] = [
    () => rmSync(folder, { recursive: true, force: true }),
  ]
  try {
    return await benchmark.run({
      folder,
      quick: flags.quick,
      progress: line => say(`  ${line}\n`),
      cleanUp: end => ends.push(end),
    })
  } finally {
    for (const end of ends.reverse()) await end()
  }
}

function print({ rows, verdicts }: Outcome): void {
  say(`\n${table(rows)}\n\n`)
  for (const verdict of verdicts) {
    const { figure, value, atMost, atLeast } = verdict
    const wanted = atMost === undefined ? `at least ${show(atLeast)}` : `at most ${show(atMost)}`
    say(`${figure}: ${show(value)}, wanted ${wanted}: ${isMet(verdict) ? 'met' : 'MISSED'}\n`)
  }
}

/** One file for each case: the newest figures, and where they were measured. */
function keep({ name, about }: Benchmark, outcome: Outcome, load: number): void {
  const machine = {
    processors: `${cpus().length} × ${cpus()[0]?.model.trim()}`,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    loadBefore: load,
  }
  const measured = { at: new Date().toISOString(), commit: commit(), machine }
  mkdirSync(results, { recursive: true })
  const text = JSON.stringify({ name, about, measured, ...outcome }, undefined, 2)
  writeFileSync(join(results, `${name}.json`), `${text}\n`)
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      cwd: root,
      encoding: 'utf8',
    }).trim()
  } catch {
    return 'unknown'
  }
}

function say(text: string): void {
  process.stdout.write(text)
}
