import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { seededRandom } from '../support/faulty-proxy.ts'
import { startRadosgw } from '../support/radosgw.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { pointsOfRun, runCrashCase, type CrashCase, type CrashScene } from './crash-case.ts'
import { matrixOf } from './matrix.ts'
import { smallPartBytes, SmallBucket, SmallPartsStore, vbucketCount } from './s3-scene.ts'

/*
 * A backup crashes at every point there is, in the step and behind it, is resumed with documents
 * changed meanwhile, and crashes again in the resume. `BACKUP_MATRIX` takes every pair of points, and
 * every signal at every point: `whole` all of them, `3/20` the third of twenty slices.
 */

const { isWhole, slice, isSliced } = matrixOf(process.env['BACKUP_MATRIX'])
const seed = Number(process.env['SEED'] ?? 1)
const lanes = 2

// What is looked at here is a process that ends, not a machine: nothing has to outlive the memory.
const memory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
const folder = mkdtempSync(join(memory, 'matrix-'))
t.teardown(() => rmSync(folder, { recursive: true }))
const gateway = await startRadosgw(t, { partBytesMin: smallPartBytes })
Object.assign(process.env, gateway.environment)
const daemon = await startDaemon(t, {
  data: join(folder, 'data'),
  flags: ['--vbuckets', String(vbucketCount)],
})
const store = new SmallPartsStore(gateway.bucket, 'matrix')
t.teardown(() => store.close())
const scenes: CrashScene[] = []
for (let lane = 0; lane < lanes; lane++) {
  const bucket = await SmallBucket.make(daemon.port, `lane-${lane}`)
  t.teardown(() => bucket.close())
  scenes.push({ bucket, store, folder })
}

// The first one makes the archive.
await pointsOfRun(scenes[0]!, { name: 'first' })
const points = await pointsOfRun(scenes[0]!, { name: 'undisturbed' })
/** All is streamed, and nobody has said so: the resume begins with making new uploads of the old ones. */
const streamed = points.findLast(point => /^(vb|pack)\.json: renamed/.test(point))!
const resumePoints = await pointsOfRun(scenes[0]!, { name: 'resumed', crash: streamed })
// In an order that is the same in every process, so that slices together are the whole.
const [firsts, seconds] = [points, resumePoints].map(list => list.toSorted())
const random = seededRandom(seed)
const anyOf = (list: readonly string[]) => list[Math.floor(random() * list.length)]!
/** Of all points so many, as far from each other as they can be. */
const spread = (count: number) =>
  Array.from({ length: count }, (_, index) => points[Math.floor((index * points.length) / count)]!)

const single: CrashCase[] = firsts!.map((at, index) => ({
  name: `single-${index}`,
  crashes: [at],
  ending: 'crash',
}))
const rebasing = resumePoints.filter(point => /^(copy|create|complete|abort)/.test(point))
const pairs = isWhole
  ? firsts!.flatMap(first => seconds!.map(second => [first, second]))
  : [
      ...rebasing.map(second => [streamed, second]),
      ...Array.from({ length: 80 }, () => [anyOf(points), anyOf(resumePoints)]),
    ]
const double: CrashCase[] = pairs.map(([first, second], index) => ({
  name: `double-${index}`,
  crashes: [first!, second!],
  ending: 'crash',
  orphan: true,
}))
const stopped: CrashCase[] = (isWhole ? firsts! : spread(24)).map((at, index) => ({
  name: `stop-${index}`,
  crashes: [at],
  ending: 'stop',
}))
const signals = (['SIGKILL', 'SIGTERM', 'SIGINT'] as const).flatMap(ending =>
  (isWhole ? firsts! : spread(ending === 'SIGKILL' ? 10 : 3)).map((at, index): CrashCase => ({
    name: `${ending}-${index}`.toLowerCase(),
    crashes: [at],
    ending,
  })),
)

/** Of the steps of the plan: in front of it, done and not known, known and not named, named. */
const demanded: readonly string[] = [
  ...[
    'putIfAbsent lock.json',
    'put checkpoint.json',
    'createUpload',
    'putPart',
    'copyPart',
    'completeUpload',
    'put manifest.json',
    'abortUpload',
    'put backup.json',
    'remove checkpoint.json',
    'rm folder',
    'remove lock.json',
  ].flatMap(name => [`${name}: before`, `${name}: done`]),
  'plan.json: written',
  'plan.json: renamed',
  'vb.json: written',
  'vb.json: renamed',
  'pack.json: written',
  'pack.json: renamed',
]

const struck = new Set<string>()
let cases = 0

const all = slice([single, double, stopped, signals].flat())

t.test(`crashes of ${points.length} points, ${all.length} cases, seed ${seed}`, async t => {
  const next = all.values()
  await Promise.all(
    scenes.map(async scene => {
      for (const one of next) {
        for (const point of await runCrashCase(t, scene, one))
          struck.add(point.replace(/ #\d+$/, ''))
        cases++
      }
    }),
  )
})

t.test('of every kind of point there was one at which it crashed, in 200 cases at least', t => {
  t.equal(cases, all.length)
  // A slice need not have every kind, and is as long as it is made.
  if (!isSliced) {
    t.same(
      demanded.filter(name => !struck.has(name)),
      [],
    )
    t.ok(cases >= 200, `${cases} cases`)
  }
  t.end()
})
