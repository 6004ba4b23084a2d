/**
 * The memory that records lie in, and where in it the newest version of a key is.
 *
 * It holds segments of two kinds. Those of the change log belong to the log until it retires them.
 * From then on they serve reads only, as do segments of records that were read from disk: the
 * document cache. When that takes more than its limit, the segment that has been in it the longest
 * goes, with all that it holds. What is found here is the newest version of its key, so a read that
 * finds something does not look on disk.
 */
import { copyShared } from '../storage/copy-shared.ts'
import { hashKey } from '../storage/key-hash.ts'
import { LargePages } from '../storage/large-pages.ts'
import {
  entryHeaderLength,
  entryLength,
  keyHashAt,
  logSegment,
  markEnd,
  offsetIn,
  offsetUnitBytes,
  positionAt,
  positionOf,
  recordLengthAt,
  segmentOf,
  type LogSegment,
} from '../storage/log-segment.ts'
import { RecordView } from '../storage/record.ts'
import { ChangeIndex, type LogKeys } from './change-index.ts'
import type { KeyBatch } from './key-batch.ts'
import { SegmentMemory } from './segment-memory.ts'
import { SegmentRing } from './segment-ring.ts'

/** Of a segment's size: a larger record is not worth keeping, as it would push out many others. */
const keptShareMax = 1 / 16
/** What a processor reads from memory at a time. */
const cacheLineBytes = 64

export interface RecordMemoryOptions {
  readonly segmentBytes: number
  /** Most that may be held for reads alone. */
  readonly cacheBytes: number
}

export interface Segment extends LogSegment {
  readonly memory: SharedArrayBuffer
  /** Its memory may be larger: then it was that of a larger one. */
  readonly capacity: number
  /** Bytes written so far. */
  used: number
}

export class RecordMemory {
  readonly #options: RecordMemoryOptions
  readonly #segments = new SegmentRing<Segment>()
  /** The ones that serve reads only, in the order in which they go. */
  readonly #cached = new Set<Segment>()
  readonly #index: ChangeIndex
  readonly #largePages = new LargePages()
  readonly #memory = new SegmentMemory(this.#largePages)
  readonly #scratch = new RecordView()
  /** By vbucket: what lies before this position is of an earlier life of it. */
  readonly #floors: (number | undefined)[] = []
  /** The one that records from disk are added to. */
  #filling: Segment | undefined
  #next = 1
  #cachedBytes = 0

  constructor(options: RecordMemoryOptions) {
    this.#options = options
    const isKeyAt: LogKeys['isKeyAt'] = (segment, units, vbid, bytes, start, length) =>
      this.#isKeyAt(segment, units, vbid, bytes, start, length)
    this.#index = new ChangeIndex({ isKeyAt }, this.#largePages)
  }

  /** Of segments, past and present. */
  get memory(): Iterable<SharedArrayBuffer> {
    return this.#memory.all
  }

  /** Memory held for reads alone. */
  get cachedBytes(): number {
    return this.#cachedBytes
  }

  /** The position before which every entry so far lies. */
  get end(): number {
    return positionOf(this.#next, 0)
  }

  open(bytes: number): Segment {
    const capacity = Math.max(bytes, this.#options.segmentBytes)
    const memory = this.#memory.take(capacity)
    const number = this.#next++
    const segment = { ...logSegment(number, memory), memory, capacity, used: 0 }
    this.#segments.add(segment)
    markEnd(segment, 0)
    return segment
  }

  /** Shows the newest version of a key; false if it is not in memory. */
  find(vbid: number, key: Uint8Array, start: number, length: number, view: RecordView): boolean {
    if (this.#index.size === 0) return false
    const position = this.#index.find(hashKey(vbid, key, start, length), vbid, key, start, length)
    if (position < 0) return false
    this.show(position, view)
    return true
  }

  /** Reads the records of keys that are about to be looked up, into the processor's cache. */
  fetch(batch: KeyBatch): void {
    if (this.#index.size === 0) return
    this.#index.peek(batch)
    const { count, segments, units } = batch
    let sum = 0
    for (let i = 0; i < count; i++) {
      const number = segments[i]!
      if (number === 0) continue
      const { bytes } = this.#segments.at(number)
      // Its head and most of its key; the processor foresees the rest.
      const at = units[i]! * offsetUnitBytes + entryHeaderLength
      sum += bytes[at]! + bytes[Math.min(at + cacheLineBytes, bytes.length - 1)]!
    }
    batch.sum = sum
  }

  show(position: number, view: RecordView): RecordView {
    const { bytes } = this.#segments.at(segmentOf(position))
    return view.at(bytes, offsetIn(position) + entryHeaderLength)
  }

  /**
   * Makes the record that has been written into the segment as its last entry the newest version
   * of its key. Returns the position of the one before, or -1.
   */
  put(segment: Segment, keyStart: number, keyLength: number, vbid: number, length: number): number {
    const { bytes, words, used } = segment
    const hash = hashKey(vbid, bytes, keyStart, keyLength)
    const word = used >>> 2
    words[word] = length
    words[word + 1] = 0
    words[word + 2] = hash
    segment.used += entryLength(length)
    markEnd(segment, segment.used)
    const position = positionOf(segment.number, used)
    return this.#index.put(hash, vbid, bytes, keyStart, keyLength, position)
  }

  /** Keeps a copy of a record from disk, of whose key nothing is in memory. */
  keep(record: RecordView): void {
    const { length, vbid, keyLength, bytes, start } = record
    const needed = entryLength(length)
    const { segmentBytes, cacheBytes } = this.#options
    if (needed > segmentBytes * keptShareMax || cacheBytes < segmentBytes) return
    if (this.#filling === undefined || this.#filling.used + needed > this.#filling.capacity) {
      this.#filling = this.open(needed)
      this.cache(this.#filling)
    }
    const segment = this.#filling
    if (segment === undefined) return
    const at = segment.used + entryHeaderLength
    copyShared(bytes, start, start + length, segment.bytes, at)
    this.put(segment, at + record.keyStart - start, keyLength, vbid, length)
  }

  /** From now on the segment serves reads only. The oldest of these go when they are too much. */
  cache(segment: Segment): void {
    this.#cached.add(segment)
    this.#cachedBytes += segment.memory.byteLength
    for (const oldest of this.#cached) {
      if (this.#cachedBytes <= this.#options.cacheBytes) break
      this.#giveUp(oldest)
    }
  }

  /** Nothing that is in memory of this vbucket is found again. */
  forget(vbid: number): void {
    // What is added from now on has to lie behind the floor.
    this.#filling = undefined
    this.#floors[vbid] = this.end
  }

  #giveUp(segment: Segment): void {
    const { number, used, memory } = segment
    for (let offset = 0; offset < used;) {
      this.#index.remove(keyHashAt(segment, offset), positionOf(number, offset))
      offset += entryLength(recordLengthAt(segment, offset))
    }
    if (segment === this.#filling) this.#filling = undefined
    this.#cached.delete(segment)
    this.#cachedBytes -= memory.byteLength
    this.#segments.remove(segment)
    this.#memory.giveBack(memory)
  }

  #isKeyAt(
    number: number,
    units: number,
    vbid: number,
    bytes: Uint8Array,
    start: number,
    length: number,
  ): boolean {
    const { bytes: own } = this.#segments.at(number)
    const record = this.#scratch.at(own, units * offsetUnitBytes + entryHeaderLength)
    if (record.vbid !== vbid || record.keyLength !== length) return false
    const { keyStart } = record
    for (let i = 0; i < length; i++) {
      if (own[keyStart + i] !== bytes[start + i]) return false
    }
    const floor = this.#floors[vbid]
    return floor === undefined || positionAt(number, units) >= floor
  }
}
