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
import { statfs } from 'node:fs/promises'
import type { Clock, Timer } from '../clock.ts'
import type { Log } from '../log.ts'
import { copyIn, forgetCopy, isMostlyFree, makeCopy } from './compaction.ts'
import { openEnvironment, type Environment } from './environment.ts'
import type { Flusher } from './flusher.ts'
import type { EnvironmentFigures } from './flusher-messages.ts'
import type { SnapshotService } from './snapshots.ts'

/** How long a copy that was given up is left alone; twice as long after each in a row. */
const retryMs = { first: 30_000, last: 15 * 60_000 } as const
/** A copy leaves as much of the disk to others as it takes. */
const roomShareMin = 2
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
  readonly snapshots: Pick<SnapshotService, 'whileUnpinned' | 'openCopy' | 'closeCopy'>
  readonly figures: () => readonly EnvironmentFigures[]
  /** Reads have to be of the new environment from now on. */
  readonly onReplaced: (environment: number, figures: EnvironmentFigures[]) => void
}

/** `pinned`: it is considered again when the last snapshot is let go. */
type Outcome = 'done' | 'pinned' | 'given up' | 'failed'

export class OnlineCompaction {
  readonly #options: OnlineCompactionOptions
  /** Environments whose files are to be looked at. */
  readonly #wanted = new Set<number>()
  /** Those that failed once: the next start may try. */
  readonly #failed = new Set<number>()
  #running: Promise<void> | undefined
  #copying: AbortController | undefined
  #retry: Timer | undefined
  #retryMs: number = retryMs.first
  #isClosed = false

  constructor(options: OnlineCompactionOptions) {
    this.#options = options
  }

  /** Writes the file of an environment anew if it is mostly free; call it when that may have come about. */
  consider(environment: number): void {
    if (this.#isClosed || this.#failed.has(environment) || !this.#isWorthIt(environment)) return
    this.#wanted.add(environment)
    if (this.#retry === undefined) this.#begin()
  }

  /** A copy that is being made is given up. Resolves when nothing is under way any more. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#retry?.cancel()
    this.#copying?.abort()
    await this.#running
  }

  #begin(): void {
    this.#retry = undefined
    this.#running ??= this.#run().finally(() => (this.#running = undefined))
  }

  /** One after the other: each takes room on the disk. */
  async #run(): Promise<void> {
    const givenUp: number[] = []
    for (const environment of this.#wanted) {
      // First: a release meanwhile may want it once more.
      this.#wanted.delete(environment)
      if (this.#isClosed || !this.#isWorthIt(environment)) continue
      const outcome = await this.#compact(environment)
      if (outcome === 'given up') givenUp.push(environment)
      if (outcome === 'failed') this.#failed.add(environment)
    }
    if (givenUp.length === 0) this.#retryMs = retryMs.first
    else if (!this.#isClosed) this.#waitFor(givenUp)
  }

  #waitFor(environments: readonly number[]): void {
    for (const environment of environments) this.#wanted.add(environment)
    this.#retry = this.#options.clock.after(this.#retryMs, () => this.#begin())
    this.#retryMs = Math.min(2 * this.#retryMs, retryMs.last)
  }

  #isWorthIt(environment: number): boolean {
    const figures = this.#options.figures()[environment]!
    if (!isMostlyFree(figures, this.#options.compactBytesMax)) return false
    return figures.writtenBytes >= writtenShareMin * figures.liveBytes
  }

  async #compact(environment: number): Promise<Outcome> {
    const { clock, environments, log } = this.#options
    const { directory } = environments[environment]!
    const { allocatedBytes, liveBytes } = this.#options.figures()[environment]!
    const begunMs = clock.monotonicMs()
    const copying = (this.#copying = new AbortController())
    try {
      const outcome = await this.#pausedFor(environment, copying)
      if (outcome !== 'done') return outcome
      const ms = Math.round(clock.monotonicMs() - begunMs)
      const figures = { directory, allocatedBytes, liveBytes, ms }
      log.info(figures, 'a file that was mostly free is as small as it can be')
      return outcome
    } catch (error) {
      if (copying.signal.aborted) return 'given up'
      const figures = { directory, allocatedBytes, liveBytes, failure: (error as Error).message }
      log.warn(figures, 'a file that is mostly free could not be written anew')
      return 'failed'
    }
  }

  async #pausedFor(environment: number, copying: AbortController): Promise<Outcome> {
    const { flusher, environments } = this.#options
    const { directory } = environments[environment]!
    const { liveBytes } = this.#options.figures()[environment]!
    const { bavail, bsize } = await statfs(directory)
    if (bavail * bsize < roomShareMin * liveBytes) return 'given up'
    try {
      const isPaused = await flusher.pause(() => copying.abort())
      return isPaused ? await this.#copy(environment, copying.signal) : 'given up'
    } finally {
      flusher.resume()
      await forgetCopy(directory)
    }
  }

  async #copy(environment: number, signal: AbortSignal): Promise<Outcome> {
    const { environments, mapSizeBytes, snapshots } = this.#options
    const { directory } = environments[environment]!
    await makeCopy(directory, { mapSizeBytes, signal, memory: this.#options.memory() })
    let isBeingReplaced = false
    const replaced = snapshots.whileUnpinned(environment, async () => {
      if (signal.aborted) return
      isBeingReplaced = true
      await this.#replace(environment)
    })
    // A pin before this may itself wait for a commit; once begun, it takes its few milliseconds.
    await Promise.race([replaced, aborted(signal)])
    if (!isBeingReplaced) return signal.aborted ? 'given up' : 'pinned'
    await replaced
    return 'done'
  }

  async #replace(environment: number): Promise<void> {
    const { environments, mapSizeBytes, readerSlotsMax, flusher, snapshots } = this.#options
    const original = environments[environment]!
    const { directory } = original
    const openIn = copyIn(directory)
    const copy = openEnvironment({ directory, openIn, mapSizeBytes, readerSlotsMax })
    let failure: string | undefined
    try {
      await snapshots.openCopy(environment)
      const adopted = await flusher.adopt(environment)
      failure = adopted.failure
      if (failure === undefined) {
        environments[environment] = copy
        this.#options.onReplaced(environment, adopted.environments)
      }
    } catch (error) {
      failure = (error as Error).message
    }
    const isAdopted = failure === undefined
    await (isAdopted ? original : copy).close()
    await snapshots.closeCopy(environment, { isAdopted })
    if (!isAdopted) throw new Error(failure)
    flusher.closeOriginal()
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
