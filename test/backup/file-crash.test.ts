import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { mkdir, open, rename, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { breakLock } from '../../src/backup/lock.ts'
import { Repository } from '../../src/backup/repository.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { seededRandom } from '../support/faulty-proxy.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { CrashPoints } from './crash-points.ts'
import { FaultyDisk } from './faulty-disk.ts'
import { matrixOf } from './matrix.ts'
import { SmallBucket, vbucketCount } from './s3-scene.ts'

/*
 * A backup into a folder ends in front of every change of a file or folder that it makes, in the archive
 * and in the staging folder: between a file's making, its writes, its sync, its rename, the sync of its
 * folder. Either the process is gone, or the machine's power, and with it all that was not synced. It is
 * resumed with documents changed meanwhile; of some cases power goes in the resume, too.
 * `BACKUP_MATRIX` takes all of them, or a slice.
 */

const { isWhole, slice } = matrixOf(process.env['BACKUP_MATRIX'])
const random = seededRandom(Number(process.env['SEED'] ?? 1))

const memory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
const folder = mkdtempSync(join(memory, 'file-crash-'))
t.teardown(() => rmSync(folder, { recursive: true }))
const daemon = await startDaemon(t, {
  data: join(folder, 'data'),
  flags: ['--vbuckets', String(vbucketCount)],
})
const bucket = await SmallBucket.make(daemon.port, 'source')
t.teardown(() => bucket.close())

type Ending = 'killed' | 'power'

/** Of one case: what is on the disk that it has to itself. */
class Place {
  readonly base: string
  readonly store: FileStore
  constructor(name: string) {
    this.base = join(folder, name)
    mkdirSync(this.base)
    this.store = new FileStore(join(this.base, 'archive'))
  }

  /** Answers with the id of the backup, if the run came to its end before it was struck. */
  async run(points: CrashPoints, ending: Ending, isFirst: boolean): Promise<string | undefined> {
    const disk = new FaultyDisk([this.base], points)
    let id: string | undefined
    try {
      // As a new process would, which knows of nothing.
      const store = new FileStore(join(this.base, 'archive'))
      const staging = join(this.base, 'staging')
      const unfinished = isFirst ? {} : { unfinished: 'resume' as const }
      id = (await bucket.backUp(store, { repository: 'r', staging, threads: 1, ...unfinished })).id
    } catch (error) {
      if (!points.isDead) throw error
    } finally {
      if (ending === 'power') disk.cutPower()
      else disk.unmount()
    }
    // The process that holds it lives on here.
    await breakLock(this.store, 'r')
    return id
  }

  /** Of those that can be gone on with, or are complete: a folder that was made for one may be empty. */
  async ids(): Promise<string[]> {
    const listed = (await (await Repository.find(this.store, 'r'))?.backups()) ?? []
    return listed.filter(({ state }) => state !== 'removed').map(({ id }) => id)
  }

  /** What lies beside the objects. */
  uploads(): string[] {
    return readdirSync(join(this.base, 'archive', '.uploads'))
  }

  async hasCheckpoint(id: string): Promise<boolean> {
    return (await this.store.size(`r/${id}/checkpoint.json`)) !== undefined
  }

  remove(): void {
    rmSync(this.base, { recursive: true })
  }
}

async function pointsOfRun(name: string, at?: string): Promise<readonly string[]> {
  const place = new Place(name)
  if (at !== undefined) {
    await place.run(new CrashPoints(at), 'killed', true)
    await bucket.change()
  }
  const points = new CrashPoints()
  await place.run(points, 'killed', at === undefined)
  place.remove()
  return points.passed
}

const points = await pointsOfRun('undisturbed')
const streamed = points.findLast(point => /^rename (vb|pack)\.json/.test(point))!
const resumePoints = await pointsOfRun('resumed', streamed)

interface Case {
  readonly ending: Ending
  readonly crashes: readonly string[]
}

const anyOf = (list: readonly string[]) => list[Math.floor(random() * list.length)]!
const every = (step: number, orOf = /^$/) =>
  points.filter((point, index) => isWhole || index % step === 0 || orOf.test(point))
const cases: Case[] = slice([
  ...every(3).map((at): Case => ({ ending: 'power', crashes: [at] })),
  // Those beside which nobody has a backup yet, or not any more, leave the most to be found.
  ...every(8, /^(link|remove tmp)/).map((at): Case => ({ ending: 'killed', crashes: [at] })),
  ...(isWhole
    ? points.flatMap(first => resumePoints.map(second => [first, second]))
    : Array.from({ length: 24 }, () => [anyOf(points), anyOf(resumePoints)])
  ).map((crashes): Case => ({ ending: 'power', crashes })),
])

async function runCase(t: Parameters<typeof bucket.expectWhole>[0], place: Place, one: Case) {
  const { ending, crashes } = one
  const about = `${ending} at ${crashes.join(' and ')}`
  const known = new Set<string>()
  let done: string | undefined
  for (let run = 0; run <= crashes.length && done === undefined; run++) {
    done = await place.run(new CrashPoints(crashes[run]), ending, run === 0)
    for (const id of await place.ids()) known.add(id)
    if (run < crashes.length && done === undefined) await bucket.change()
  }
  // Whoever was told that it is complete finds it, whatever has become of the power since. What the run
  // needed while it was under way may have come back: the next one takes it for what it is.
  if (await place.hasCheckpoint(done!)) {
    const again = await place.run(new CrashPoints(), 'killed', false)
    t.same(again, done, `${about}: complete`)
  }
  const document = await bucket.expectWhole(t, place.store, 'r', about)
  t.same(place.uploads(), [], `${about}: nothing is left beside`)
  t.same([document.id, [...known]], [done, [done]], `${about}: the same backup`)
}

t.test(`${points.length} points, ${cases.length} cases`, { timeout: 0 }, async t => {
  for (const [index, one] of cases.entries()) {
    const place = new Place(`case-${index}`)
    await runCase(t, place, one)
    place.remove()
  }
})

// prettier-ignore
const expectedKinds = [
  'make folder', 'make data', 'make log', 'make tmp', 'writev data', 'write log', 'writeFile tmp',
  'sync data', 'sync log', 'sync tmp', 'sync folder', 'rename object', 'link archive.json',
  'link repository.json', 'rename backup.json', 'rename manifest.json', 'rename vb.json', 'rename pack.json', 'rename plan.json',
  'link lock.json', 'remove tmp', 'remove log', 'remove lock.json',
]

t.test('there was every kind of change, and a power cut that would be noticed', t => {
  const kinds = new Set(points.map(point => point.replace(/ #\d+$/, '')))
  for (const kind of expectedKinds) t.ok(kinds.has(kind), `${kind}: of ${[...kinds].join(', ')}`)
  t.end()
})

t.test('what was not synced is lost, and only that', async t => {
  const base = join(folder, 'shown')
  mkdirSync(base)
  const disk = new FaultyDisk([base], new CrashPoints())
  const write = async (name: string, text: string, how: 'synced' | 'unsynced') => {
    const file = await open(join(base, name), 'w')
    await file.writeFile(text)
    if (how === 'synced') await file.sync()
    await file.close()
  }
  const syncFolder = async () => {
    const handle = await open(base, 'r')
    await handle.sync()
    await handle.close()
  }
  for (const name of ['kept', 'renamed', 'removed']) await write(name, name, 'synced')
  await syncFolder()
  await write('kept', 'longer than before', 'unsynced')
  await write('new', 'new', 'synced')
  await rename(join(base, 'renamed'), join(base, 'other'))
  await unlink(join(base, 'removed'))
  await mkdir(join(base, 'folder'))
  disk.cutPower()
  t.same(readdirSync(base).sort(), ['kept', 'removed', 'renamed'])
  for (const name of readdirSync(base)) t.equal(readFileSync(join(base, name), 'utf8'), name)
})
