/**
 * One of the journal's files: filled with zeroes once, then over and over again with blocks. Where these
 * need more they make it longer, which costs those that do it half as much again.
 */
import { constants, fdatasync, fdatasyncSync, write, writeSync } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { journalFileBytes, journalFileBytesFirst } from './journal-format.ts'

const zeroBytes = 2 ** 20
const nothingUntold: ReadonlyMap<number, bigint> = new Map()

/**
 * With it a write that has returned is on disk: one call instead of two.
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
      for (let at = 0; at < journalFileBytesFirst; at += zeroBytes) {
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

  /** It is time for a commit: the other file has to last until that is done. */
  get isNearlyFull(): boolean {
    return this.#used > (3 / 4) * journalFileBytes
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
    let untold: Map<number, bigint> | undefined
    for (let i = 0; i < vbids.length; i++) {
      const vbid = vbids[i]!
      const vbuuid = vbuuids[i]!
      if (this.#told.get(vbid) === vbuuid) continue
      this.#told.set(vbid, vbuuid)
      untold ??= new Map()
      untold.set(vbid, vbuuid)
    }
    return untold ?? nothingUntold
  }

  /** Writes a block by the thread pool; one at a time. `done` is called once it is on disk. */
  append(block: Buffer, upTo: number, done: (error: Error | null) => void): void {
    const { fd } = this.#handle
    write(fd, block, 0, block.length, this.#placeFor(block, upTo), (error, written) => {
      if (error !== null) done(error)
      else if (written !== block.length) done(writtenInPart(block, written))
      else if (syncedWrites === 0) fdatasync(fd, done)
      else done(null)
    })
  }

  /** The same by this thread: returns once it is on disk, and the error if it is not. */
  appendHere(block: Buffer, upTo: number): Error | null {
    const { fd } = this.#handle
    try {
      const written = writeSync(fd, block, 0, block.length, this.#placeFor(block, upTo))
      if (written !== block.length) return writtenInPart(block, written)
      if (syncedWrites === 0) fdatasyncSync(fd)
      return null
    } catch (error) {
      return error as Error
    }
  }

  #placeFor({ length }: Buffer, upTo: number): number {
    const at = this.#used
    this.#used += length
    this.#upTo = upTo
    return at
  }

  async close(isEmptied: boolean): Promise<void> {
    // What stays is told from newer blocks: see journal-format.ts.
    if (isEmptied) await this.#handle.truncate(0).catch(() => undefined)
    await this.#handle.close()
  }
}

function writtenInPart(block: Buffer, written: number): Error {
  return new Error(`${written} of ${block.length} bytes were written`)
}
