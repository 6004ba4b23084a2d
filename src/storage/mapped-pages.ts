/**
 * Bounds how much of the environments' files the process has mapped. A page that was read once stays
 * mapped, and counts as memory of the process, until the kernel needs it: with large files that would
 * be all that was ever read. Beyond a limit all of them are given back. They stay in the kernel's page
 * cache, where the next read finds them, and are the first to go when others need memory.
 *
 * Nothing can get lost: what LMDB writes does not go through the map, which is for reading alone. Other
 * threads may read meanwhile. Linux only: elsewhere the kernel is left to itself.
 */
import { readFileSync, realpathSync } from 'node:fs'
import { dataFileOf } from './data-file.ts'
import { MemoryAdvice } from './memory-advice.ts'

/** Reading the pages again costs about as much as giving them back: at most 1 % of a processor. */
const restMsPerMiB = 4

export interface MappedPagesOptions {
  /** Of the environments, which this thread has open until `close`. */
  readonly directories: readonly string[]
  readonly limitBytes: number
  readonly monotonicMs: () => number
}

export class MappedPages {
  readonly #files: ReadonlySet<string>
  readonly #limitBytes: number
  readonly #monotonicMs: () => number
  #restsUntilMs = -Infinity
  #isClosed = false

  constructor({ directories, limitBytes, monotonicMs }: MappedPagesOptions) {
    this.#files = new Set(directories.map(directory => realpathSync(dataFileOf(directory))))
    this.#limitBytes = limitBytes
    this.#monotonicMs = monotonicMs
  }

  /**
   * Gives pages back if there are more than there may be, and it is not too soon. Resolves with how many
   * bytes the process has mapped less; fails when the system does not let it.
   */
  async bound(): Promise<number> {
    if (process.platform !== 'linux' || this.#monotonicMs() < this.#restsUntilMs) return 0
    const before = mappedBytes()
    if (before <= this.#limitBytes) return 0
    const advice = await MemoryAdvice.load()
    // From here to the end of the call the maps stay where they are: this thread has them open.
    if (this.#isClosed) return 0
    for (const [start, end] of mapsOf(this.#files)) {
      advice.giveBack(start, end - start)
    }
    const givenBack = Math.max(0, before - mappedBytes())
    this.#restsUntilMs = this.#monotonicMs() + (givenBack / 2 ** 20) * restMsPerMiB
    return givenBack
  }

  /** Call before the environments are closed. */
  close(): void {
    this.#isClosed = true
  }
}

/** Bytes of files, its own program among them, that the process has in its map and in memory. */
export function mappedBytes(): number {
  const [, kilobytes] =
    /^RssFile:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? []
  return Number(kilobytes ?? 0) * 1024
}

/** Where files are mapped for reading alone: from, up to. */
function* mapsOf(files: ReadonlySet<string>): Generator<[start: number, end: number]> {
  for (const line of readFileSync('/proc/self/maps', 'utf8').split('\n')) {
    const [, start, end, path] =
      /^([0-9a-f]+)-([0-9a-f]+) r--s \S+ \S+ \S+\s+(.+)$/.exec(line) ?? []
    if (path !== undefined && files.has(path)) yield [parseInt(start!, 16), parseInt(end!, 16)]
  }
}
