import { randomUUID } from 'node:crypto'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import type { Test } from 'tap'
import { BackupFile, dataKey } from '../../src/backup/archive/layout.ts'
import { breakLock } from '../../src/backup/lock.ts'
import { Repository } from '../../src/backup/repository.ts'
import { crashing, CrashPoints, watchFolder } from './crash-points.ts'
import type { CrashProgramOptions } from './crash-program.ts'
import type { SmallBucket, SmallPartsStore } from './s3-scene.ts'

/**
 * How a run ends: in this process, as one that is gone would, or as one that was asked to stop; or in a
 * process of its own that is sent a signal.
 */
export type Ending = 'crash' | 'stop' | 'SIGKILL' | 'SIGINT' | 'SIGTERM'

export interface CrashCase {
  readonly name: string
  /** Of the run, then of the one that resumes it, and so on. */
  readonly crashes: readonly string[]
  readonly ending: Ending
  /** Leaves an upload that nobody knows behind the first crash. */
  readonly orphan?: boolean
}

export interface CrashScene {
  readonly bucket: SmallBucket
  readonly store: SmallPartsStore
  /** Folder of staging folders. */
  readonly folder: string
}

/** Runs a backup that crashes at these points, resumes it, and looks whether all is as it has to be. */
export async function runCrashCase(
  t: Pick<Test, 'same' | 'equal'>,
  scene: CrashScene,
  { name, crashes, ending, orphan = false }: CrashCase,
): Promise<string[]> {
  const struck: string[] = []
  let id: string | undefined
  for (let run = 0; ; run++) {
    const isReal = run === 0 && ending.startsWith('SIG')
    const point = isReal
      ? await killed(scene, { name, at: crashes[0]!, signal: ending as NodeJS.Signals })
      : await runUntil(scene, { name, at: crashes[run], ending, isFirst: run === 0 })
    if (point === undefined) break
    struck.push(point)
    const left = await whatIsLeft(scene, name)
    id ??= left.id
    if (left.nothingToResume) break
    // Behind the sweep there is nothing that could leave one.
    if (run === 0 && orphan && left.id !== undefined && !left.isListed)
      await scene.store.createUpload(`${name}/${left.id}/${dataKey(99)}`, randomUUID())
    await scene.bucket.change()
  }
  const about = `${name}, ${ending} at ${struck.join(' and ')}`
  const document = await scene.bucket.expectWhole(t, scene.store, name, about)
  if (id !== undefined) t.equal(document.id, id, `${about}: the same backup`)
  return struck
}

/** Answers with the point at which the run was struck; undefined if it came to its end. */
async function runUntil(
  { bucket, store, folder }: CrashScene,
  run: { name: string; at: string | undefined; ending: Ending; isFirst: boolean },
): Promise<string | undefined> {
  const { name, at, ending, isFirst } = run
  const stop = new AbortController()
  const points = new CrashPoints(at, struck => {
    if (ending === 'stop') stop.abort(new Error('stopped'))
    else struck.die()
  })
  const staging = join(folder, name)
  const unwatch = watchFolder(staging, points)
  try {
    await bucket.backUp(crashing(store, points), {
      repository: name,
      staging,
      signal: stop.signal,
      ...(isFirst ? {} : { unfinished: 'resume' }),
    })
    // Asked to stop when there was nothing left to do.
    if (!points.isDead) return undefined
  } catch (error) {
    if (!points.isDead && !stop.signal.aborted) throw error
  } finally {
    unwatch()
  }
  // The process that holds it lives on here.
  await breakLock(store, name)
  return at
}

const program = resolve(import.meta.dirname, 'crash-program.js')

/** A real process, and what a real one leaves: its lock, too. */
async function killed(
  { bucket, store, folder }: CrashScene,
  { name, at, signal }: { name: string; at: string; signal: NodeJS.Signals },
): Promise<string | undefined> {
  const options: CrashProgramOptions = {
    bucket: store.bucket,
    prefix: store.prefix,
    port: bucket.port,
    source: bucket.name,
    repository: name,
    staging: join(folder, name),
    at,
    signal,
  }
  const words = ['--no-warnings', program, JSON.stringify(options)]
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'] })
  let told = ''
  child.stderr.on('data', chunk => (told += chunk))
  const [code, by] = (await once(child, 'close')) as [number | null, string | null]
  // It did not come to that point, or was asked to stop when there was nothing left to do.
  if (code === 0) return undefined
  const isExpected = signal === 'SIGKILL' ? by === signal : code === 5
  if (!isExpected) throw new Error(`${signal} at ${at}: ended with ${code ?? by}: ${told}`)
  return at
}

async function whatIsLeft({ store, folder }: CrashScene, name: string) {
  const found = await (await Repository.find(store, name))?.backups()
  const id = found?.[0]?.id
  const has = async (file: string) => (await store.size(`${name}/${id}/${file}`)) !== undefined
  const isListed = await has(BackupFile.manifest)
  const hasState =
    (await has(BackupFile.checkpoint)) ||
    filesIn(join(folder, name)).some(file => basename(file) === 'plan.json')
  return { id, isListed, nothingToResume: (await has(BackupFile.backup)) && !hasState }
}

function filesIn(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : []
}

/** The points that a run passes which nothing disturbs; or the one that resumes what crashed at `crash`. */
export async function pointsOfRun(
  { bucket, store, folder }: CrashScene,
  { name, crash }: { name: string; crash?: string },
): Promise<readonly string[]> {
  const staging = join(folder, name)
  if (crash !== undefined) {
    const isFirst = true
    await runUntil({ bucket, store, folder }, { name, at: crash, ending: 'crash', isFirst })
    const { id } = await whatIsLeft({ bucket, store, folder }, name)
    await store.createUpload(`${name}/${id}/${dataKey(99)}`, randomUUID())
    await bucket.change()
  }
  const points = new CrashPoints()
  const unwatch = watchFolder(staging, points)
  try {
    await bucket.backUp(crashing(store, points), {
      repository: name,
      staging,
      unfinished: crash === undefined ? undefined : 'resume',
    })
  } finally {
    unwatch()
  }
  return points.passed
}
