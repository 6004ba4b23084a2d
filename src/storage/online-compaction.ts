/**
 * Writes an environment's file anew while it is served. Once the last snapshot in it has been let go,
 * what that one has kept from being used again is free, and may be most of the file; so may what was
 * deleted, once it is purged.
 *
 * 1. The flusher pauses, so that nobody writes to the file. Readers go on, and changes wait in memory
 *    and in the journal.
 * 2. What is in use is copied beside it (compaction.ts).
 * 3. With nothing pinned, this thread and the backfill thread open the copy, and the flusher puts it
 *    in its place. All three go on in the copy, and the file is gone with the last who closes it.
 *
 * Until the flusher writes again, both hold the same: it does not matter who reads which of them, nor
 * which of them a crash leaves. Whoever waits for a commit goes first: a copy that is being made is
 * given up, and made some time later.
 */
import { closeSync, openSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import type { Clock, Timer } from '../clock.ts'
import type { Log } from '../log.ts'
import { fillCopy, forgetCopy, isMostlyFree, makeFolder } from './compaction.ts'
import { figuresOf, openEnvironment, type Environment } from './environment.ts'
import type { Flusher } from './flusher.ts'
import type { EnvironmentFigures } from './flusher-messages.ts'
import type { SnapshotService } from './snapshots.ts'

/** How long a copy that was given up is left alone; twice as long after each in a row. */
const retryMs = { first: 30_000, last: 15 * 60_000 } as const
/** A copy leaves as much of the disk to others as it takes. */
const roomShareMin = 2
/**
 * lmdb does not survive being refused a file while it opens an environment. All threads together open six, and
 * clients connect meanwhile.
 */
const filesToSpare = 64
/** A copy is worth it when commits have written this many times as much as it is going to. */
const writtenShareMin = 2

export interface OnlineCompactionOptions {
  readonly clock: Clock
  readonly log: Log
  /** This thread's: the one that is written anew is replaced. */
  readonly environments: Environment[]
  readonly mapSizeBytes: number
  readonly readerSlotsMax: number
  /** What may be in use of a file. */
  readonly compactBytesMax: number
  /** Large pieces of this process's memory: see `CopyOptions`. */
  readonly memory: () => Iterable<SharedArrayBuffer>
  readonly flusher: Pick<Flusher, 'pause' | 'resume' | 'adopt' | 'closeOriginal'>
  readonly snapshots: Pick<SnapshotService, 'pinnedIn' | 'whileUnpinned' | 'openCopy' | 'closeCopy'>
  readonly figures: () => readonly EnvironmentFigures[]
  /** Reads have to be of the new environment from now on. */
  readonly onReplaced: (environment: number, figures: EnvironmentFigures[]) => void
}

type Outcome = 'done' | 'not worth it' | 'given up' | 'failed'

export class OnlineCompaction {
  /** Of all buckets one after the other: each takes room on the disk. */
  static #turn: Promise<unknown> = Promise.resolve()
  readonly #options: OnlineCompactionOptions
  /** Environments whose files are to be looked at. */
  readonly #wanted = new Set<number>()
  /** Those that failed once: the next start may try. */
  readonly #failed = new Set<number>()
  #isRunning = false
  /** The one that is looked at now. */
  #work: Promise<Outcome> | undefined
  #copying: AbortController | undefined
  #retry: Timer | undefined
  /** Back to the first once a file has been written anew. */
  #retryMs: number = retryMs.first
  #isClosed = false

  constructor(options: OnlineCompactionOptions) {
    this.#options = options
  }

  /** Writes the file of an environment anew if it is mostly free; call it when that may have come about. */
  consider(environment: number): void {
    if (this.#failed.has(environment) || !this.#isWorthIt(environment)) return
    this.#wanted.add(environment)
    if (this.#isRunning || this.#retry !== undefined) return
    if (this.#retryMs === retryMs.first) this.#begin()
    else this.#beginLater()
  }

  /** A copy that is being made is given up. Resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#retry?.cancel()
    this.#copying?.abort()
    await this.#work
  }

  #begin(): void {
    this.#retry = undefined
    void this.#run()
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    const givenUp = new Set<number>()
    for (const environment of this.#wanted) {
      // First: it may be considered once more meanwhile.
      this.#wanted.delete(environment)
      if (givenUp.has(environment) || this.#failed.has(environment)) continue
      const outcome = await this.#inTurn(() => (this.#work = this.#compact(environment)))
      if (outcome === 'given up') givenUp.add(environment)
      if (outcome === 'failed') this.#failed.add(environment)
      if (outcome === 'done') this.#retryMs = retryMs.first
    }
    this.#isRunning = false
    if (givenUp.size === 0 || this.#isClosed) return
    for (const environment of givenUp) this.#wanted.add(environment)
    this.#beginLater()
  }

  #beginLater(): void {
    this.#retry = this.#options.clock.after(this.#retryMs, () => this.#begin())
    this.#retryMs = Math.min(2 * this.#retryMs, retryMs.last)
  }

  #inTurn(work: () => Promise<Outcome>): Promise<Outcome> {
    const done = OnlineCompaction.#turn.then(work)
    OnlineCompaction.#turn = done.catch(() => undefined)
    return done
  }

  /** Not while a snapshot needs the file: what it keeps from being used again counts as free, too. */
  #isWorthIt(environment: number): boolean {
    if (this.#isClosed || this.#options.snapshots.pinnedIn(environment) > 0) return false
    const figures = this.#options.figures()[environment]!
    if (!isMostlyFree(figures, this.#options.compactBytesMax)) return false
    return figures.writtenBytes >= writtenShareMin * figures.liveBytes
  }

  async #compact(environment: number): Promise<Outcome> {
    if (!this.#isWorthIt(environment)) return 'not worth it'
    const { clock, environments, log } = this.#options
    const { directory } = environments[environment]!
    const { allocatedBytes, liveBytes } = this.#options.figures()[environment]!
    const begunMs = clock.monotonicMs()
    const copying = (this.#copying = new AbortController())
    try {
      const outcome = await this.#attempt(environment, copying)
      if (outcome !== 'done') return outcome
      const ms = Math.round(clock.monotonicMs() - begunMs)
      const figures = { directory, allocatedBytes, liveBytes, ms }
      log.info(figures, 'a file that was mostly free is as small as it can be')
      return outcome
    } catch (error) {
      if (copying.signal.aborted || !hasFilesToSpare(directory)) return 'given up'
      if (!(await hasRoom(directory, { liveBytes }))) return 'given up'
      const figures = { directory, allocatedBytes, liveBytes, failure: (error as Error).message }
      log.warn(figures, 'a file that is mostly free could not be written anew')
      return 'failed'
    }
  }

  async #attempt(environment: number, copying: AbortController): Promise<Outcome> {
    const { flusher, environments, log } = this.#options
    const { directory } = environments[environment]!
    const figures = this.#options.figures()[environment]!
    if (!(await hasRoom(directory, figures))) {
      log.warn({ directory, ...figures }, 'no room on the disk to write anew what is mostly free')
      return 'given up'
    }
    let folder: string | undefined
    try {
      const isPaused = await flusher.pause(() => copying.abort())
      if (!isPaused) return 'given up'
      folder = makeFolder(directory)
      return await this.#copy(environment, folder, copying.signal)
    } finally {
      flusher.resume()
      if (folder !== undefined) {
        await forgetCopy(folder).catch((error: unknown) => {
          log.warn({ folder, error: String(error) }, 'a copy stays until the next start')
        })
      }
    }
  }

  async #copy(environment: number, folder: string, signal: AbortSignal): Promise<Outcome> {
    const { environments, mapSizeBytes, snapshots } = this.#options
    const { directory } = environments[environment]!
    await fillCopy(directory, folder, { mapSizeBytes, signal, memory: this.#options.memory() })
    let isBeingReplaced = false
    const replaced = snapshots.whileUnpinned(environment, async () => {
      isBeingReplaced = !signal.aborted && hasFilesToSpare(directory)
      if (isBeingReplaced) await this.#replace(environment, folder)
    })
    // A pin before this may itself wait for a commit; once begun, it takes its few milliseconds.
    await Promise.race([replaced, aborted(signal)])
    if (!isBeingReplaced) return 'given up'
    await replaced
    return 'done'
  }

  async #replace(environment: number, openIn: string): Promise<void> {
    const { environments, mapSizeBytes, readerSlotsMax, flusher, snapshots } = this.#options
    const original = environments[environment]!
    const { directory } = original
    const copy = openEnvironment({ directory, openIn, mapSizeBytes, readerSlotsMax })
    let figures: EnvironmentFigures[]
    try {
      figures = await this.#adopt(environment, copy, openIn)
    } catch (error) {
      await copy.close()
      await snapshots.closeCopy(environment, { isAdopted: false })
      throw error
    }
    environments[environment] = copy
    this.#options.onReplaced(environment, figures)
    await original.close()
    await snapshots.closeCopy(environment, { isAdopted: true })
    flusher.closeOriginal()
  }

  /** Resolves when the copy is in its place; fails when everything is as it was. */
  async #adopt(environment: number, copy: Environment, folder: string) {
    const { flusher, snapshots } = this.#options
    // Takes the reader slot that this thread needs, before snapshots take all of them.
    figuresOf(copy)
    await snapshots.openCopy(environment, folder)
    const { failure, environments } = await flusher.adopt(environment, folder)
    if (failure !== undefined) throw new Error(failure)
    return environments
  }
}

async function hasRoom(
  directory: string,
  { liveBytes }: Pick<EnvironmentFigures, 'liveBytes'>,
): Promise<boolean> {
  const { bavail, bsize } = await statfs(directory).catch(() => ({ bavail: 0, bsize: 0 }))
  return bavail * bsize >= roomShareMin * liveBytes
}

/** Whether this process may open `filesToSpare` more. */
function hasFilesToSpare(directory: string): boolean {
  const files: number[] = []
  try {
    while (files.length < filesToSpare) files.push(openSync(directory, 'r'))
    return true
  } catch {
    return false
  } finally {
    for (const file of files) closeSync(file)
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
