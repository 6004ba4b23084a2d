/**
 * The journal: makes changes durable sooner than a commit does. When somebody waits, what the
 * change log has gained is written behind the last block and synced, which is one small write
 * instead of a transaction in every environment. LMDB gets the same changes later, at its pace;
 * only after a crash is the journal read (journal-replay.ts).
 *
 * There are two files, used in turn: one begins anew when LMDB has all that is in it. They are
 * filled with zeroes first, so that a sync has nothing to do but to write data. When the journal
 * cannot take something (LMDB does not have the other file's changes yet, vbuckets are being made
 * or removed, the disk has failed it), whoever waits waits for the commit instead.
 */
import { writevSync } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../log.ts'
import type { Random } from '../random.ts'
import { encodeBlockHead } from './journal-format.ts'
import { syncDirectory } from './sync-directory.ts'

export const journalFileNames = ['journal-0', 'journal-1'] as const

const fileBytes = 16 * 2 ** 20
const zeroBytes = 2 ** 20

/** What the journal is to write next. */
export interface Stretch {
  /** The stretch of the change log, in pieces. */
  readonly entries: readonly Uint8Array[]
  /** Where it ends in the log. */
  readonly upTo: number
  /** The histories that its changes belong to. */
  readonly vbuuids: ReadonlyMap<number, bigint>
}

export interface JournalOptions {
  readonly directory: string
  readonly random: Random
  readonly log: Log
  /**
   * All that was appended behind `position` and is not committed; undefined while something is on
   * its way to disk that only a commit can bring: vbuckets that begin or end.
   */
  readonly stretchFrom: (position: number) => Stretch | undefined
  /** Everything before this position is in LMDB. */
  readonly committed: () => number
  /** Everything before this position is durable. */
  readonly onDurable: (position: number) => void
  /** It can not make durable what it was asked for: only a commit does. */
  readonly onRefused: () => void
}

interface JournalFile {
  readonly handle: FileHandle
  used: number
  /** Where the log was when its newest block was written. */
  upTo: number
}

type State = 'unused' | 'preparing' | 'ready' | 'failed' | 'closed'

export class Journal {
  readonly #options: JournalOptions
  readonly #epoch: bigint
  #state: State = 'unused'
  #files: JournalFile[] = []
  #sequence = 0
  /** Everything before is in blocks that have been written, or was committed before. */
  #written = 0
  #isWanted = false
  #scheduled: NodeJS.Immediate | undefined
  #preparing: Promise<void> | undefined
  #syncing: Promise<void> | undefined

  constructor(options: JournalOptions) {
    this.#options = options
    this.#epoch = options.random.uint64()
  }

  /** Somebody waits for everything that has been appended. */
  request(): void {
    if (this.#state === 'unused') this.#preparing = this.#prepare()
    if (this.#state !== 'ready') return this.#options.onRefused()
    this.#isWanted = true
    if (this.#syncing !== undefined || this.#scheduled !== undefined) return
    // What others append in this turn of the event loop comes along.
    this.#scheduled = setImmediate(() => {
      this.#scheduled = undefined
      this.#next()
    })
  }

  /** `isCommitted`: LMDB has everything, the files are not needed any more. */
  async close(isCommitted: boolean): Promise<void> {
    this.#state = 'closed'
    clearImmediate(this.#scheduled)
    await this.#preparing
    await this.#syncing
    for (const { handle } of this.#files) {
      if (isCommitted) await handle.truncate(0).catch(() => {})
      await handle.close()
    }
    this.#files = []
  }

  async #prepare(): Promise<void> {
    this.#state = 'preparing'
    const { directory } = this.#options
    try {
      for (const name of journalFileNames) {
        const handle = await open(join(directory, name), 'w')
        this.#files.push({ handle, used: 0, upTo: 0 })
        const zeroes = Buffer.alloc(zeroBytes)
        for (let at = 0; at < fileBytes; at += zeroBytes) {
          await handle.write(zeroes, 0, zeroBytes, at)
        }
        await handle.sync()
      }
      syncDirectory(directory)
      this.#become('ready')
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Unless it was closed meanwhile. */
  #become(state: State): void {
    if (this.#state !== 'closed') this.#state = state
  }

  #next(): void {
    if (!this.#isWanted || this.#state !== 'ready') return
    this.#isWanted = false
    const { stretchFrom, committed, onRefused } = this.#options
    const stretch = stretchFrom(Math.max(this.#written, committed()))
    if (stretch === undefined) return onRefused()
    if (stretch.entries.length === 0) return this.#options.onDurable(stretch.upTo)
    let file: JournalFile | undefined
    try {
      file = this.#write(stretch)
    } catch (error) {
      this.#fail(error)
    }
    if (file === undefined) return onRefused()
    this.#written = stretch.upTo
    this.#syncing = this.#sync(file, stretch.upTo)
  }

  async #sync({ handle }: JournalFile, upTo: number): Promise<void> {
    try {
      await handle.datasync()
      this.#options.onDurable(upTo)
    } catch (error) {
      this.#fail(error)
      this.#options.onRefused()
    }
    this.#syncing = undefined
    this.#next()
  }

  /** Undefined if there is no room for it now. */
  #write({ entries, upTo, vbuuids }: Stretch): JournalFile | undefined {
    const sequence = this.#sequence + 1
    const head = encodeBlockHead({ epoch: this.#epoch, sequence, vbuuids }, entries)
    const length = entries.reduce((sum, bytes) => sum + bytes.length, head.length)
    const file = this.#fileFor(length)
    if (file === undefined) return undefined
    const written = writevSync(file.handle.fd, [head, ...entries], file.used)
    if (written !== length) throw new Error(`${written} of ${length} bytes were written`)
    this.#sequence = sequence
    file.used += length
    file.upTo = upTo
    return file
  }

  #fileFor(length: number): JournalFile | undefined {
    const [current, other] = this.#files as [JournalFile, JournalFile]
    if (current.used + length <= fileBytes) return current
    if (length > fileBytes || other.upTo > this.#options.committed()) return undefined
    this.#files = [other, current]
    other.used = 0
    return other
  }

  /** What the kernel could not write it may have thrown away: the files are not trusted again. */
  #fail(error: unknown): void {
    this.#become('failed')
    const { log, directory } = this.#options
    log.warn(
      { directory, error: String(error) },
      'the journal cannot be written: durable writes wait for commits until the next start',
    )
  }
}
