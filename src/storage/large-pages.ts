/**
 * Large pages for the memory that documents and their index lie in. A GET reads a few places all over
 * it; with pages of 4 KiB the processor has to look up each of them, in tables that do not fit into its
 * caches either. The system may have none to give: then everything is as without.
 */
import { MemoryAdvice } from './memory-advice.ts'

/** As much has to be in use before the library is loaded: what small daemons have is found anyway. */
const worthBytes = 16 * 2 ** 20
/** Memory that is smaller has no room for a large page. */
const memoryBytesMin = 2 * 2 ** 20

export class LargePages {
  #askedBytes = 0
  /** Once it has been loaded. */
  #advice: MemoryAdvice | undefined

  /** For new memory, before it is written to. */
  useFor(memory: ArrayBufferLike): void {
    this.#askedBytes += memory.byteLength
    const isWorth = this.#askedBytes >= worthBytes && memory.byteLength >= memoryBytesMin
    if (!isWorth || process.platform !== 'linux') return
    if (this.#advice !== undefined) this.#advice.useLargePages(memory)
    else void this.#whenLoaded(memory)
  }

  async #whenLoaded(memory: ArrayBufferLike): Promise<void> {
    try {
      this.#advice = await MemoryAdvice.load()
      this.#advice.useLargePages(memory)
    } catch {
      // Where the library does not run everything is as on a system that has no large pages.
    }
  }
}
