/** What was measured last, one JSON file for each case, and where it was measured. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import type { Benchmark, Outcome } from './benchmark.ts'
import { writeFormatted } from './formatted.ts'

/** The repository: its `benchmark` folder may be reached by a link. */
export const benchmarkFolder = realpathSync(resolve(import.meta.dirname, '../../benchmark'))
export const resultsFolder = join(benchmarkFolder, 'results')

export interface Result extends Outcome {
  readonly name: string
  readonly about: string
  readonly measured: {
    readonly at: string
    readonly commit: string
    /** How long the case took; older results do not say. */
    readonly minutes?: number
    readonly machine: {
      readonly processors: string
      readonly memoryGiB: number
      readonly node: string
      readonly loadBefore: number
    }
  }
}

/** Under the name of the case, and of the Node.js that ran the daemon if it was not our own. */
export async function keepResult(
  benchmark: Benchmark,
  outcome: Outcome,
  about: { readonly node: string; readonly loadBefore: number; readonly minutes: number },
): Promise<void> {
  const { name } = benchmark
  const { node, loadBefore } = about
  const machine = {
    processors: `${cpus().length} × ${cpus()[0]?.model.trim()}`,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node,
    loadBefore,
  }
  const minutes = Number(about.minutes.toFixed(1))
  const measured = { at: new Date().toISOString(), commit: commit(), minutes, machine }
  const result: Result = { name, about: benchmark.about, measured, ...outcome }
  mkdirSync(resultsFolder, { recursive: true })
  const file = node === process.version ? name : `${name}.node-${/\d+/.exec(node)![0]}`
  await writeFormatted(join(resultsFolder, `${file}.json`), JSON.stringify(result))
}

/** All of them, with the names of their files but for the ending. */
export function readResults(): { readonly file: string; readonly result: Result }[] {
  return readdirSync(resultsFolder)
    .filter(name => name.endsWith('.json'))
    .toSorted()
    .map(name => ({
      file: name.slice(0, -'.json'.length),
      result: JSON.parse(readFileSync(join(resultsFolder, name), 'utf8')) as Result,
    }))
}

function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { cwd: benchmarkFolder, encoding: 'utf8' }).trim()
    const isChanged = git('status', '--porcelain', '--', '../src', '../protocol', '../bin') !== ''
    return git('rev-parse', '--short', 'HEAD') + (isChanged ? ' and changes' : '')
  } catch {
    return 'unknown'
  }
}
