/**
 * Brings changes into the index by key, inside a write transaction. They are gathered as the
 * entries that they become, and merged at once: in the order of their hashes, so that a block is
 * read and written once for all of its changes.
 */
import {
  DocumentEntry,
  entryHashAt,
  entryKeyStart,
  entryLengthAt,
  entryLengthMax,
  entrySeqnoAt,
  isEntryOf,
  writeDocumentEntry,
} from './document-entry.ts'
import type { Environment, Table } from './environment.ts'
import { IndexBlocks } from './index-blocks.ts'
import {
  blockEndOf,
  buddyOf,
  depthMax,
  findInIndexBlock,
  indexBlockBytesMax,
  indexBlockHeadLength,
  seekInIndexBlock,
  writeIndexBlockHead,
} from './index-block.ts'
import type { IndexKey } from './keys.ts'
import type { RecordView } from './record.ts'

/** Blocks that together are shorter than this become one again. */
const joinedBytesMax = indexBlockBytesMax / 2

/** A hash and an index below this are put into one number, to be sorted. */
const changesMax = 2 ** 20
/** Memory for more than that is not kept. */
const keptBytesMax = 4 * 2 ** 20

/** Is called for the entry of a version that another takes the place of, or that is removed. */
export type OnReplaced = (vbid: number, old: DocumentEntry) => void

/** Changes of one vbucket: where in the memory their entries are. Those of removals are negative. */
type Changes = number[]

export class IndexWriter {
  readonly #table: Table<IndexKey>
  readonly #blocks: IndexBlocks
  readonly #onReplaced: OnReplaced
  readonly #place: IndexKey = { vbid: 0, name: 0 }
  readonly #old = new DocumentEntry()
  readonly #changes = new Map<number, Changes>()
  #entries: Buffer = Buffer.allocUnsafeSlow(2 ** 16)
  #entriesLength = 0
  /** The block as it was, and as it will be. */
  #source: Buffer = Buffer.allocUnsafeSlow(2 * indexBlockBytesMax)
  #target: Buffer = Buffer.allocUnsafeSlow(2 * indexBlockBytesMax)

  constructor({ index }: Environment, onReplaced: OnReplaced) {
    this.#table = index
    this.#blocks = new IndexBlocks(index)
    this.#onReplaced = onReplaced
  }

  /** Forgets what has not been merged. */
  clear(): void {
    this.#changes.clear()
    this.#entriesLength = 0
    if (this.#entries.length > keptBytesMax) this.#entries = Buffer.allocUnsafeSlow(2 ** 16)
  }

  /** The vbucket is removed. */
  forget(vbid: number): void {
    this.#changes.delete(vbid)
  }

  /** The record, which is in the block of this name, is the newest of its key. True: merge soon. */
  put(record: RecordView, block: number): boolean {
    const at = this.#append(record, block)
    return this.#changesOf(record.vbid).push(at) >= changesMax
  }

  /** The key has no version any more if this record is its newest. */
  remove(record: RecordView): void {
    const at = this.#append(record, record.seqno)
    this.#changesOf(record.vbid).push(-1 - at)
  }

  /** Writes what has gathered. */
  merge(): void {
    for (const [vbid, changes] of this.#changes) this.#mergeInto(vbid, changes)
    this.clear()
  }

  #append(record: RecordView, block: number): number {
    const at = this.#entriesLength
    const end = at + entryLengthMax(record.keyLength)
    this.#entries = withRoom(this.#entries, at, end)
    this.#entriesLength += writeDocumentEntry(record, block, this.#entries, at)
    return at
  }

  #changesOf(vbid: number): Changes {
    let changes = this.#changes.get(vbid)
    if (changes === undefined) this.#changes.set(vbid, (changes = []))
    return changes
  }

  #mergeInto(vbid: number, changes: Changes): void {
    const order = this.#inOrder(changes)
    const shrunk: number[] = []
    for (let i = 0; i < changes.length;) {
      const name = this.#load(vbid, hashOf(order[i]!))
      const { depth, length } = this.#blocks
      const end = blockEndOf(name, depth)
      let count = i
      while (count < changes.length && hashOf(order[count]!) < end) count++
      const targetBytes = this.#rebuild(vbid, length, changes, order.subarray(i, count))
      this.#store(vbid, name, depth, indexBlockHeadLength, targetBytes)
      if (targetBytes < length) shrunk.push(name)
      i = count
    }
    for (const name of shrunk) this.#join(vbid, name)
  }

  /** Hash × `changesMax` + index: by hash, those of the same key in the order of their seqnos. */
  #inOrder(changes: Changes): Float64Array {
    const order = new Float64Array(changes.length)
    for (let i = 0; i < order.length; i++) {
      order[i] = entryHashAt(this.#entries, placeOf(changes[i]!)) * changesMax + i
    }
    return order.sort()
  }

  /** Takes the block that has this hash for the source and returns its name. */
  #load(vbid: number, hash: number): number {
    const blocks = this.#blocks
    if (!blocks.find(vbid, hash)) {
      // It is the first of its vbucket.
      blocks.name = 0
      blocks.depth = 0
      blocks.length = indexBlockHeadLength
      return 0
    }
    this.#source = withRoom(this.#source, 0, blocks.length)
    this.#source.set(blocks.bytes.subarray(0, blocks.length))
    return blocks.name
  }

  /** Writes the source with these changes into the target and returns its length. */
  #rebuild(vbid: number, length: number, changes: Changes, order: Float64Array): number {
    const source = this.#source
    let from = indexBlockHeadLength
    let to = indexBlockHeadLength
    let hash = -1
    // Where in the target those with this hash begin: several keys may have it.
    let first = to
    for (const number of order) {
      const change = changes[number % changesMax]!
      const entry = placeOf(change)
      if (hashOf(number) !== hash) {
        hash = hashOf(number)
        const same = seekInIndexBlock(source, from, length, hash)
        to = this.#keep(from, same, to)
        from = same
        first = to
        // Mostly there is one entry of the hash, that of the key: it need not be copied to be found.
        if (same < length && this.#isSameKey(source, same, entry)) {
          const isIt = entrySeqnoAt(source, same) === entrySeqnoAt(this.#entries, entry)
          if (change >= 0 || isIt) {
            if (change >= 0) this.#onReplaced(vbid, this.#old.at(source, same))
            from = same + entryLengthAt(source, same)
          }
        }
        const next = seekInIndexBlock(source, from, length, hash + 1)
        to = this.#keep(from, next, to)
        from = next
      }
      to = this.#replace(vbid, first, to, entry, change < 0)
    }
    return this.#keep(from, length, to)
  }

  /** Copies a stretch of the source to the end of the target and returns the new end. */
  #keep(from: number, end: number, to: number): number {
    this.#target = withRoom(this.#target, to, to + end - from)
    copyBytes(this.#source, from, end, this.#target, to)
    return to + end - from
  }

  #isSameKey(block: Buffer, at: number, entry: number): boolean {
    const entries = this.#entries
    const keyStart = entryKeyStart(entries, entry)
    const keyLength = entry + entryLengthAt(entries, entry) - keyStart
    return (
      entryHashAt(block, at) === entryHashAt(entries, entry) &&
      isEntryOf(block, at, entries, keyStart, keyLength)
    )
  }

  /**
   * Puts an entry at the end of the target, in place of that of its key, which stands behind
   * `first` if it is there; or removes that one. Returns the new end.
   */
  #replace(vbid: number, first: number, end: number, entry: number, isRemoval: boolean): number {
    const entries = this.#entries
    const entryEnd = entry + entryLengthAt(entries, entry)
    let to = end
    if (first < end) {
      const target = this.#target
      const keyStart = entryKeyStart(entries, entry)
      const hash = entryHashAt(entries, entry)
      const old = findInIndexBlock(target, first, end, hash, entries, keyStart, entryEnd - keyStart)
      if (old !== 0) {
        const isIt = entrySeqnoAt(target, old) === entrySeqnoAt(entries, entry)
        if (isRemoval && !isIt) return end
        if (!isRemoval) this.#onReplaced(vbid, this.#old.at(target, old))
        const oldEnd = old + entryLengthAt(target, old)
        target.copyWithin(old, oldEnd, end)
        to -= oldEnd - old
      }
    }
    if (isRemoval) return to
    this.#target = withRoom(this.#target, to, to + entryEnd - entry)
    copyBytes(entries, entry, entryEnd, this.#target, to)
    return to + entryEnd - entry
  }

  /** Stores a stretch of the target as a block, or as several. There is room for a head before it. */
  #store(vbid: number, name: number, depth: number, start: number, end: number): void {
    const headStart = start - indexBlockHeadLength
    const target = this.#target
    if (end - headStart > indexBlockBytesMax && depth < depthMax) {
      const upper = blockEndOf(name, depth + 1)
      const middle = seekInIndexBlock(target, start, end, upper)
      this.#store(vbid, name, depth + 1, start, middle)
      this.#store(vbid, upper, depth + 1, middle, end)
      return
    }
    writeIndexBlockHead(target, headStart, end, name, depth)
    const place = this.#place
    place.vbid = vbid
    place.name = name
    if (depth === 0 && start === end) this.#table.removeSync(place)
    else this.#table.putSync(place, target.subarray(headStart, end))
  }

  /** Makes one of a block and the one that it was split from, while both are small. */
  #join(vbid: number, name: number): void {
    const blocks = this.#blocks
    if (!blocks.read(vbid, name) || blocks.depth === 0) return
    const { depth, length } = blocks
    const buddy = buddyOf(name, depth)
    const lower = Math.min(name, buddy)
    const upper = Math.max(name, buddy)
    if (!blocks.read(vbid, buddy) || blocks.depth !== depth) return
    const end = length + blocks.length - indexBlockHeadLength
    if (end > joinedBytesMax) return
    const target = this.#target
    blocks.read(vbid, upper)
    const upperStart = end - (blocks.length - indexBlockHeadLength)
    target.set(blocks.bytes.subarray(indexBlockHeadLength, blocks.length), upperStart)
    blocks.read(vbid, lower)
    target.set(blocks.bytes.subarray(0, blocks.length))
    const place = this.#place
    place.vbid = vbid
    place.name = upper
    this.#table.removeSync(place)
    this.#store(vbid, lower, depth - 1, indexBlockHeadLength, end)
    this.#join(vbid, lower)
  }
}

/** Up to here a loop is quicker than a call that is not of the language. */
const loopedBytesMax = 128

function copyBytes(source: Buffer, from: number, end: number, target: Buffer, to: number): void {
  if (end - from > loopedBytesMax) source.copy(target, to, from, end)
  else for (let at = from; at < end; at++) target[to + at - from] = source[at]!
}

function placeOf(change: number): number {
  return change < 0 ? -1 - change : change
}

function hashOf(number: number): number {
  return Math.floor(number / changesMax)
}

/** Memory for at least so many bytes, with the first `kept` of what there was. */
function withRoom(bytes: Buffer, kept: number, needed: number): Buffer {
  if (needed <= bytes.length) return bytes
  const larger = Buffer.allocUnsafeSlow(2 * needed)
  bytes.copy(larger, 0, 0, kept)
  return larger
}
