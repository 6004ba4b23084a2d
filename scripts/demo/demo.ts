/**
 * `npm run demo`: the main job on a real data set. A bucket of some 170,000 documents is copied
 * over a change stream whose link keeps breaking, while the application goes on changing and
 * deleting and the purger removes tombstones all the time: once with `backfill_resume`, once
 * without. Ends with 0 if the first run was complete and without a single rollback.
 */
import { readCities } from './cities.ts'
import { run, type RunFigures } from './run.ts'
import { Scope } from './scope.ts'
import { table } from './table.ts'

const cutsMax = 60
const seed = Number(process.env['SEED'] ?? 1)

const say = (line: string) => process.stdout.write(`${line}\n`)

async function runOnce(backfillResume: boolean): Promise<RunFigures> {
  say(`\n${backfillResume ? 'With' : 'Without'} backfill_resume`)
  const scope = new Scope()
  const interrupted = () => void scope.close().finally(() => process.exit(130))
  process.once('SIGINT', interrupted)
  try {
    const cities = readCities()
    return await run(scope, {
      cities,
      backfillResume,
      cutsMax,
      seed,
      say: text => say(`  ${text}`),
    })
  } finally {
    process.off('SIGINT', interrupted)
    await scope.close()
  }
}

function closingTable(resumed: RunFigures, plain: RunFigures): string {
  const count = (value: number) => value.toLocaleString('en')
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`
  const row = (name: string, cell: (figures: RunFigures) => string) => [
    name,
    cell(resumed),
    cell(plain),
  ]
  return table([
    ['', 'with backfill_resume', 'without'],
    row('documents in the copy', figures => count(figures.documents)),
    row('documents that differ from the bucket', figures => count(figures.differences)),
    row('cuts survived', figures => count(figures.cuts)),
    row('rollbacks', figures => count(figures.rollbacks)),
    row('bytes sent', figures => mebibytes(figures.bytesSent)),
    row('of these sent twice', figures => mebibytes(figures.bytesSentTwice)),
    row('purges in between', figures => count(figures.purgeRounds)),
    row('tombstones they removed', figures => count(figures.tombstonesPurged)),
    row('seconds', figures => figures.seconds.toFixed(1)),
  ])
}

say(`A bucket is copied over a link that is cut again and again, up to ${cutsMax} times, while its
documents are changed and deleted and every tombstone is purged as soon as it may (SEED=${seed}).`)
const resumed = await runOnce(true)
const plain = await runOnce(false)
say(`\n${closingTable(resumed, plain)}\n`)
const isShown = resumed.rollbacks === 0 && resumed.differences === 0 && resumed.cuts > 0
say(isShown ? 'Complete, without a rollback.' : 'Not what it should be: see the first column.')
process.exitCode = isShown ? 0 : 1
