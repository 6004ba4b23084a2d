/**
 * Which entry in memory is the newest of a key: an open-addressing table of positions, compared by
 * the key bytes in the entry itself, so that a look-up makes no string.
 *
 * Linear probing; a removal shifts later entries of its run back, so there are no grave marks
 * and the table never has to be rebuilt but to grow. A place is three words of one array, so that a
 * look-up in a large table has to wait for one line of memory instead of two:
 *
 *   | hash u32 | number of the segment u32, 0: empty | offset in it, in units of 8 bytes, u32 |
 */
import type { LargePages } from '../storage/large-pages.ts'
import type { KeyBatch } from './key-batch.ts'
import { offsetUnitsIn, positionAt, segmentOf } from '../storage/log-segment.ts'

export interface LogKeys {
  /** Whether the entry at (segment, offset in units of 8 bytes) is of this vbucket and key. */
  isKeyAt(
    segment: number,
    units: number,
    vbid: number,
    bytes: Uint8Array,
    start: number,
    length: number,
  ): boolean
}

const empty = 0
const placeWords = 3

export class ChangeIndex {
  readonly #log: LogKeys
  readonly #largePages: LargePages
  #words: Uint32Array
  #mask: number
  #size = 0

  constructor(log: LogKeys, largePages: LargePages, capacity = 1024) {
    this.#log = log
    this.#largePages = largePages
    this.#words = new Uint32Array(capacity * placeWords)
    this.#mask = capacity - 1
  }

  get size(): number {
    return this.#size
  }

  /** The position of the newest entry of the key, or -1. */
  find(hash: number, vbid: number, bytes: Uint8Array, start: number, length: number): number {
    return this.#positionIn(this.#placeOf(hash, vbid, bytes, start, length))
  }

  /** Makes `position` the newest entry of its key; returns the one before, or -1. */
  put(
    hash: number,
    vbid: number,
    bytes: Uint8Array,
    start: number,
    length: number,
    position: number,
  ): number {
    const at = this.#placeOf(hash, vbid, bytes, start, length)
    const before = this.#positionIn(at)
    const words = this.#words
    words[at] = hash
    words[at + 1] = segmentOf(position)
    words[at + 2] = offsetUnitsIn(position)
    if (before < 0 && ++this.#size * 5 > (this.#mask + 1) * 3) this.#grow()
    return before
  }

  /** Removes the key whose newest entry is `position`; nothing if a newer one has taken its place. */
  remove(hash: number, position: number): void {
    const words = this.#words
    const segment = segmentOf(position)
    const units = offsetUnitsIn(position)
    let place = hash & this.#mask
    for (;;) {
      const at = place * placeWords
      if (words[at + 1] === empty) return
      if (words[at + 1] === segment && words[at + 2] === units) break
      place = (place + 1) & this.#mask
    }
    this.#size--
    this.#closeGap(place)
  }

  /**
   * Looks at the first place of each key: most likely its own. Nothing here depends on what was read
   * before, so the reads do not wait for each other.
   */
  peek({ count, hashes, segments, units }: KeyBatch): void {
    const words = this.#words
    const mask = this.#mask
    for (let i = 0; i < count; i++) {
      const at = (hashes[i]! & mask) * placeWords
      segments[i] = words[at + 1]!
      units[i] = words[at + 2]!
    }
  }

  #positionIn(at: number): number {
    const segment = this.#words[at + 1]!
    return segment === empty ? -1 : positionAt(segment, this.#words[at + 2]!)
  }

  /** Where in the words the key has its place, or would have it. */
  #placeOf(hash: number, vbid: number, bytes: Uint8Array, start: number, length: number): number {
    const words = this.#words
    let place = hash & this.#mask
    for (;;) {
      const at = place * placeWords
      const segment = words[at + 1]!
      if (segment === empty) return at
      if (
        words[at] === hash &&
        this.#log.isKeyAt(segment, words[at + 2]!, vbid, bytes, start, length)
      ) {
        return at
      }
      place = (place + 1) & this.#mask
    }
  }

  #closeGap(first: number): void {
    const words = this.#words
    let gap = first
    let place = first
    for (;;) {
      place = (place + 1) & this.#mask
      const at = place * placeWords
      if (words[at + 1] === empty) break
      const home = words[at]! & this.#mask
      // It may move back unless its home lies behind the gap, cyclically.
      if (((place - home) & this.#mask) < ((place - gap) & this.#mask)) continue
      copyPlace(words, at, words, gap * placeWords)
      gap = place
    }
    words[gap * placeWords + 1] = empty
  }

  #grow(): void {
    const old = this.#words
    const words = (this.#words = new Uint32Array(old.length * 2))
    this.#largePages.useFor(words.buffer)
    this.#mask = words.length / placeWords - 1
    for (let from = 0; from < old.length; from += placeWords) {
      if (old[from + 1] === empty) continue
      let place = old[from]! & this.#mask
      while (words[place * placeWords + 1] !== empty) place = (place + 1) & this.#mask
      copyPlace(old, from, words, place * placeWords)
    }
  }
}

function copyPlace(source: Uint32Array, from: number, target: Uint32Array, to: number): void {
  target[to] = source[from]!
  target[to + 1] = source[from + 1]!
  target[to + 2] = source[from + 2]!
}
