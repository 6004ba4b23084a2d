/** Looks keys up in the index of one environment. */
import { DocumentEntry } from './document-entry.ts'
import type { Environment } from './environment.ts'
import { findInIndexBlock, searchStartIn } from './index-block.ts'
import { IndexBlocks } from './index-blocks.ts'
import { hashKey } from './key-hash.ts'

export class IndexReader {
  readonly #blocks: IndexBlocks
  readonly #entry = new DocumentEntry()

  constructor({ index }: Environment) {
    this.#blocks = new IndexBlocks(index)
  }

  /**
   * The entry of a key, valid until anything else is read; undefined when the key is unknown.
   * Fails when there is damage.
   */
  find(vbid: number, key: Uint8Array, start: number, length: number): DocumentEntry | undefined {
    const blocks = this.#blocks
    const hash = hashKey(vbid, key, start, length)
    if (!blocks.find(vbid, hash)) return undefined
    const { bytes, length: end } = blocks
    const from = searchStartIn(bytes, end, hash)
    const at = findInIndexBlock(bytes, from, end, hash, key, start, length)
    return at === 0 ? undefined : this.#entry.at(bytes, at)
  }
}
