/** The table in `benchmark/README.md` and the plots, from the newest results of all cases. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isMet, wanted, type Row } from './benchmark.ts'
import { writeFormatted } from './formatted.ts'
import { plot } from './plot.ts'
import { benchmarkFolder, readResults, resultsFolder, type Result } from './results.ts'
import { markdownTable } from './table.ts'

const begin = '<!-- results: written by `npm run benchmark -- --report` -->'
const end = '<!-- results end -->'

export async function writeReport(): Promise<void> {
  const results = readResults()
  for (const { file, result } of results) {
    writeFileSync(join(resultsFolder, `${file}.svg`), plot(result))
  }
  const path = join(benchmarkFolder, 'README.md')
  const [before, rest] = readFileSync(path, 'utf8').split(begin)
  const after = rest?.split(end)[1]
  if (after === undefined) throw new Error(`${path} has no place for results: ${begin} … ${end}`)
  const verdicts = results.flatMap(({ result }) => verdictRows(result))
  const parts = [markdownTable(verdicts), ...results.map(section)]
  await writeFormatted(path, `${before}${begin}\n\n${parts.join('\n\n')}\n\n${end}${after}`)
}

function verdictRows({ name, measured, verdicts }: Result): Row[] {
  return verdicts.map(verdict => ({
    case: `\`${name}\``,
    figure: verdict.figure,
    measured: verdict.value,
    wanted: wanted(verdict),
    '': isMet(verdict) ? 'met' : '**missed**',
    'Node.js': measured.machine.node,
    commit: measured.commit,
  }))
}

function section({ file, result }: { file: string; result: Result }): string {
  const { at, commit, minutes, machine } = result.measured
  const { processors, memoryGiB, node, loadBefore } = machine
  const load = loadBefore.toFixed(2)
  const where = `${processors}, ${memoryGiB} GiB, Node.js ${node}, load before ${load}`
  const took = minutes === undefined ? '' : ` in ${minutes} minutes`
  const asked = Object.entries(result.settings).map(([name, value]) => `${name} ${value}`)
  return [
    `### ${result.name}${file === result.name ? '' : `, Node.js ${node}`}`,
    `${result.about}. Measured ${at.slice(0, 10)} at ${commit}${took} on ${where}; ${asked.join(', ')}.`,
    markdownTable(result.rows),
    `![${result.plot}](results/${file}.svg)`,
  ].join('\n\n')
}
