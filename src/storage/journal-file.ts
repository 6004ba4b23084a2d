/** One of the journal's files: filled with zeroes once, then over and over again with blocks. */
import { constants, fdatasync, write } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { journalFileBytes } from './journal-format.ts'

const zeroBytes = 2 ** 20

/**
 * With it a write that has returned is on disk: one errand of the thread pool instead of two.
 * Elsewhere it may leave the data in the disk's own cache.
 */
const syncedWrites = process.platform === 'linux' ? constants.O_DSYNC : 0

export class JournalFile {
  readonly #handle: FileHandle
  #used = 0
  #upTo = 0
  /** What its blocks tell of histories, by vbucket. */
  readonly #told = new Map<number, bigint>()

  private constructor(handle: FileHandle) {
    this.#handle = handle
  }

  /** Whatever is there is gone. */
  static async create(path: string): Promise<JournalFile> {
    const zeroed = await open(path, 'w')
    try {
      const zeroes = Buffer.alloc(zeroBytes)
      for (let at = 0; at < journalFileBytes; at += zeroBytes) {
        await zeroed.writev([zeroes], at)
      }
      await zeroed.sync()
      return new JournalFile(await open(path, constants.O_RDWR | syncedWrites))
    } catch (error) {
      await zeroed.truncate(0).catch(() => undefined)
      throw error
    } finally {
      await zeroed.close()
    }
  }

  get used(): number {
    return this.#used
  }

  get isHalfFull(): boolean {
    return this.#used > journalFileBytes / 2
  }

  /** Where the log was when its newest block was written. */
  get upTo(): number {
    return this.#upTo
  }

  rewind(): void {
    this.#used = 0
    this.#told.clear()
  }

  /** The histories that its next block has to tell, as none before it does. */
  tell(vbids: readonly number[], vbuuids: readonly bigint[]): ReadonlyMap<number, bigint> {
    const untold = new Map<number, bigint>()
    for (const [index, vbid] of vbids.entries()) {
      if (this.#told.get(vbid) !== vbuuids[index]) untold.set(vbid, vbuuids[index]!)
    }
    for (const [vbid, vbuuid] of untold) this.#told.set(vbid, vbuuid)
    return untold
  }

  /** One at a time. `done` is called once the block is on disk. */
  append(block: Buffer, upTo: number, done: (error: Error | null) => void): void {
    const { fd } = this.#handle
    const at = this.#used
    this.#used += block.length
    this.#upTo = upTo
    write(fd, block, 0, block.length, at, (error, written) => {
      if (error !== null) done(error)
      else if (written !== block.length) {
        done(new Error(`${written} of ${block.length} bytes were written`))
      } else if (syncedWrites === 0) fdatasync(fd, done)
      else done(null)
    })
  }

  async close(isEmptied: boolean): Promise<void> {
    // What stays is told from newer blocks: see journal-format.ts.
    if (isEmptied) await this.#handle.truncate(0).catch(() => undefined)
    await this.#handle.close()
  }
}
