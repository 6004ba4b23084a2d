/** `kill -9` while a file is written anew under durable writes: all of them are there, in whichever file. */
import { join } from 'node:path'
import t from 'tap'
import { seedOf } from '../resume/seed.ts'
import { openBuckets, read } from '../support/bucket.ts'
import { checkStore } from '../support/check-store.ts'
import { seededRandom } from '../support/faulty-proxy.ts'
import { runAndKill } from './run-and-kill.ts'
import { compactionSettings, largeDocuments } from './settings.ts'

const kills = 12
const aliveMsMax = 1200
// A loaded machine takes its time.
t.setTimeout(300_000)

type Report =
  | ['released']
  | ['durable', vbid: number, key: string, value: string]
  | ['compactions', count: number]

function reportsOf(lines: readonly string[]): Report[] {
  return lines.map(line => JSON.parse(line) as Report)
}

t.test(`what was durable is there after each of ${kills} kills`, async t => {
  const root = t.testdir({ data: {} })
  const directory = join(root, 'data')
  const random = seededRandom(seedOf(t))
  const expected = new Map<string, string>()
  let compactions = 0
  let durable = 0
  for (let kill = 1; kill <= kills; kill++) {
    const report = join(root, `report-${kill}`)
    // Some of them when it has come to an end once, however slow the machine is.
    const awaited = kill % 3 === 0 ? 'compactions' : 'released'
    const begins = (lines: readonly string[]) => reportsOf(lines).some(([kind]) => kind === awaited)
    const program = { file: 'compaction-writer.js', directory, report }
    const life = { begins, aliveMs: random() * aliveMsMax }
    const { lines, pid } = await runAndKill(program, life)
    for (const report of reportsOf(lines)) {
      if (report[0] === 'compactions') compactions++
      if (report[0] !== 'durable') continue
      const [, vbid, key, value] = report
      durable++
      expected.set(`${vbid} ${key}`, value)
    }
    const { buckets, bucket } = await openBuckets(t, directory, { settings: compactionSettings })
    for (const [name, value] of expected) {
      const [vbid, key] = name.split(' ') as [string, string]
      const found = read(bucket, bucket.vbucket(Number(vbid))!, key)
      // What was written last may be there before it was told to be durable.
      if (found === value) continue
      if (isLater(found, value, pid)) expected.set(name, found!)
      else t.fail(`kill ${kill}, ${name}: ${found}`)
    }
    for (let index = 0; index < largeDocuments; index++) {
      const found = read(bucket, bucket.vbucket(index % 16)!, `document-${index}`)
      if (found?.startsWith(`${index} `) !== true) t.fail(`kill ${kill}, document ${index}`)
    }
    await buckets.close()
    t.same(await checkStore(directory), [], `kill ${kill}`)
  }
  t.comment(`${compactions} files written anew, ${durable} durable writes`)
  t.ok(compactions >= kills / 4, `${compactions} files were written anew`)
  t.ok(durable > 100)
})

/** Both are PID ROUND TURN, the first perhaps of the process that was killed last. */
function isLater(found: string | undefined, value: string, lastPid: number): boolean {
  if (found === undefined) return false
  const [pid, round, turn] = found.split(' ').map(Number) as [number, number, number]
  const [toldPid, toldRound, toldTurn] = value.split(' ').map(Number) as [number, number, number]
  if (pid !== toldPid) return pid === lastPid
  return round > toldRound || (round === toldRound && turn > toldTurn)
}
