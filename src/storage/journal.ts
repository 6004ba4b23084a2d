/**
 * The journal: makes changes durable sooner than a commit does. When somebody waits, what the
 * change log has gained is written behind the last block, which is one small synced write instead
 * of a transaction in every environment. LMDB gets the same changes later, at its pace; only after
 * a crash is the journal read (journal-replay.ts).
 *
 * There are two files, used in turn: one begins anew when LMDB has all that is in it. They are
 * filled with zeroes first, so that a sync has nothing to do but to write data.
 *
 *   unused ── request ──▶ preparing ──▶ ready ──▶ failed ── a while, and all committed ──▶ preparing
 *
 * When the journal cannot take something (see `stretchFrom`; LMDB does not have the other file's
 * changes yet; the disk has failed it), whoever waits waits for the commit instead.
 */
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Random } from '../random.ts'
import { atTurnEnd } from '../turn-end.ts'
import { BlockEncoder, blockLength, journalFileBytes, journalFileNames } from './journal-format.ts'
import { JournalFile } from './journal-file.ts'
import { syncDirectory } from './sync-directory.ts'
import { SyncPace } from './sync-pace.ts'

const retryMs = 60_000

/** What the journal is to write next. */
export interface Stretch {
  /** The stretch of the change log, in pieces. */
  readonly entries: readonly Uint8Array[]
  /** Where it ends in the log. */
  readonly upTo: number
  /** The vbuckets that it changes, and the history that each of them is in. */
  readonly vbids: readonly number[]
  readonly vbuuids: readonly bigint[]
}

export interface JournalOptions {
  readonly directory: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /**
   * All that was appended behind `position`; undefined while only a commit may acknowledge it:
   * vbuckets begin or end, or it is in doubt whether LMDB can take what it lacks.
   */
  readonly stretchFrom: (position: number) => Stretch | undefined
  /** Everything before this position is in LMDB. */
  readonly committed: () => number
  /** Whether clients wait for what is to be written; otherwise there is no hurry. */
  readonly isAwaited: () => boolean
  /** Everything before this position is durable. */
  readonly onDurable: (position: number) => void
  /** It can not make durable what it was asked for: only a commit does. */
  readonly onRefused: () => void
  /** A file is nearly full: a commit in time, and the other one is free when it is needed. */
  readonly onFilling: () => void
}

type State = 'unused' | 'preparing' | 'ready' | 'failed' | 'closed'

export class Journal {
  readonly #options: JournalOptions
  readonly #blocks: BlockEncoder
  readonly #pace = new SyncPace()
  #state: State = 'unused'
  /** The one that is being filled first. */
  #files: JournalFile[] = []
  #sequence = 0
  /** Everything before is in blocks that have been written, or was committed before. */
  #written = 0
  #isWanted = false
  #isScheduled = false
  #preparing: Promise<void> | undefined
  #onIdle: (() => void) | undefined
  #isWriting = false
  #retryFromMs = 0

  constructor(options: JournalOptions) {
    this.#options = options
    this.#blocks = new BlockEncoder(options.random.uint64())
  }

  /** Whether it takes what it is asked for, as far as is known. */
  get isReady(): boolean {
    return this.#state === 'ready'
  }

  /** Somebody waits for everything that has been appended. */
  request(): void {
    if (this.#state !== 'ready') return this.#requestUnready()
    this.#isWanted = true
    if (!this.#isWriting) this.#schedule()
  }

  /** `isCommitted`: LMDB has everything, the files are not needed any more. */
  async close(isCommitted: boolean): Promise<void> {
    this.#state = 'closed'
    await this.#preparing
    if (this.#isWriting) await new Promise<void>(done => (this.#onIdle = done))
    await this.#closeFiles(isCommitted)
  }

  /** What others append in this turn of the event loop comes along. */
  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    atTurnEnd(this.#begin)
  }

  readonly #begin = (): void => {
    this.#isScheduled = false
    if (!this.#isWriting) this.#next()
  }

  #requestUnready(): void {
    const { clock, committed, onRefused } = this.#options
    const mayRetry = () => clock.monotonicMs() >= this.#retryFromMs && committed() >= this.#written
    if (this.#state === 'unused' || (this.#state === 'failed' && mayRetry())) {
      this.#state = 'preparing'
      this.#preparing = this.#prepare()
    }
    onRefused()
  }

  async #prepare(): Promise<void> {
    const { directory } = this.#options
    try {
      await this.#closeFiles(false)
      for (const name of journalFileNames) {
        this.#files.push(await JournalFile.create(join(directory, name)))
      }
      syncDirectory(directory)
      this.#become('ready')
    } catch (error) {
      // On a disk that is full every byte counts, and LMDB has what they held.
      await this.#closeFiles(true)
      this.#fail(error)
    }
  }

  async #closeFiles(isEmptied: boolean): Promise<void> {
    const files = this.#files
    this.#files = []
    for (const file of files) await file.close(isEmptied)
  }

  /** Unless it was closed meanwhile. */
  #become(state: State): void {
    if (this.#state !== 'closed') this.#state = state
  }

  #next(): void {
    if (!this.#isWanted || this.#state !== 'ready') return
    this.#isWanted = false
    const { stretchFrom, committed, onRefused, onDurable } = this.#options
    const stretch = stretchFrom(Math.max(this.#written, committed()))
    if (stretch === undefined) return onRefused()
    const { entries, upTo, vbids, vbuuids } = stretch
    if (entries.length === 0) return onDurable(upTo)
    const file = this.#fileFor(blockLength(vbids.length, entries))
    if (file === undefined) return onRefused()
    const untold = file.tell(vbids, vbuuids)
    this.#write(file, this.#blocks.encode(++this.#sequence, untold, entries), upTo)
  }

  #write(file: JournalFile, block: Buffer, upTo: number): void {
    const { isAwaited, onFilling } = this.#options
    const wasNearlyFull = file.isNearlyFull
    this.#written = upTo
    if (isAwaited() && this.#pace.isQuick()) this.#writeHere(file, block, upTo)
    else {
      this.#isWriting = true
      file.append(block, upTo, error => {
        this.#isWriting = false
        this.#wrote(error, upTo)
        if (!this.#isWriting) this.#onIdle?.()
      })
    }
    if (!wasNearlyFull && file.isNearlyFull) onFilling()
  }

  #writeHere(file: JournalFile, block: Buffer, upTo: number): void {
    const { clock } = this.#options
    const startedMs = clock.monotonicMs()
    const error = file.appendHere(block, upTo)
    this.#pace.took(clock.monotonicMs() - startedMs)
    this.#wrote(error, upTo)
  }

  #wrote(error: Error | null, upTo: number): void {
    if (error !== null) {
      this.#fail(error)
      return this.#options.onRefused()
    }
    // First, so that the disk has work while those who waited are answered.
    this.#next()
    this.#options.onDurable(upTo)
  }

  /** Undefined if there is no room for a block of this length now. */
  #fileFor(length: number): JournalFile | undefined {
    const [current, other] = this.#files as [JournalFile, JournalFile]
    if (current.used + length <= journalFileBytes) return current
    if (length > journalFileBytes || other.upTo > this.#options.committed()) return undefined
    this.#files = [other, current]
    other.rewind()
    return other
  }

  /** What the kernel could not write it may have thrown away: the files are not trusted again. */
  #fail(error: unknown): void {
    const { clock, log, directory } = this.#options
    this.#become('failed')
    this.#retryFromMs = clock.monotonicMs() + retryMs
    log.warn(
      { directory, error: String(error) },
      'the journal cannot be written: durable writes wait for commits for now',
    )
  }
}
