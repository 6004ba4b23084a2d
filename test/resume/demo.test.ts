import t from 'tap'
import { readCities } from '../../scripts/demo/cities.ts'
import { run } from '../../scripts/demo/run.ts'
import { Scope } from '../../scripts/demo/scope.ts'
import { seedOf } from './seed.ts'

t.setTimeout(120_000)
const seed = seedOf(t)

for (const backfillResume of [true, false]) {
  const how = backfillResume ? 'with' : 'without'
  t.test(`the demo, ${how} backfill_resume, on a part of its data`, async t => {
    const scope = new Scope()
    t.teardown(() => scope.close())
    const cities = readCities().slice(0, 40_000)
    const lines: string[] = []
    const say = (line: string) => void lines.push(line)
    const figures = await run(scope, { cities, backfillResume, cutsMax: 20, seed, say })
    t.comment(JSON.stringify(figures))
    t.equal(figures.differences, 0, 'the copy equals the bucket')
    t.ok(figures.documents > 0 && figures.purgeRounds > 0)
    t.ok(figures.cuts >= 3, `${figures.cuts} cuts`)
    t.ok(figures.bytesSentTwice < figures.bytesSent)
    t.equal(figures.rollbacks > 0, !backfillResume, `${figures.rollbacks} rollbacks`)
    t.match(lines, [/^loaded 40,000 documents$/, /documents copied/])
  })
}
