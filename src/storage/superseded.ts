/**
 * Notes, inside a write transaction, which records of which blocks have been superseded or purged.
 * A block that has lost half of its records is written anew without them; one that has lost all is
 * removed. So what is stored stays below twice of what lives, and a record is written anew about
 * once in its life. A block that shares a page with others waits until it has lost three quarters:
 * there is little to gain, and most blocks are such.
 *
 * The table `superseded` has one entry for each span of seqnos (block.ts) in whose blocks there is
 * a record that does not live. So a commit that supersedes a few records in each of many blocks
 * reads and writes few entries:
 *
 *   | bit map, 512 bytes: bit i (from the lowest of each byte) is the seqno span + i |
 *   | for each block that has lost some: name − span u16, lost u16, lost at most u16 |
 *
 * When a block has lost the most that it may it is written anew. How much that is is told by what it
 * has when the first is lost: one that is still being added to is then looked at earlier than it
 * needs to be. Bits of records that are not there any more mean nothing.
 */
import type { Environment } from './environment.ts'
import {
  blockBytesMax,
  blockHeadLength,
  blockSpan,
  countInBlock,
  isBlockIntact,
  recordLengthIn,
  sealBlock,
  spanOf,
} from './block.ts'
import { readSeqno, readUint16, writeUint16 } from '../../protocol/bytes.ts'
import { headerLength } from '../../protocol/header.ts'
import type { SeqnoKey } from './keys.ts'

const bitmapLength = blockSpan / 8
const noteLength = 6

/** Whether `entry`, of the table `superseded`, says so of a record of its span. */
export function isSuperseded(entry: Uint8Array, seqno: number): boolean {
  const bit = seqno % blockSpan
  return (entry[bit >>> 3]! & (1 << (bit & 7))) !== 0
}

/** What an entry says of one block. */
export interface BlockNote {
  block: number
  lost: number
  lostMax: number
}

/** The notes of an entry. */
export function notesIn(entry: Uint8Array, length: number, span: number): BlockNote[] {
  const notes: BlockNote[] = []
  for (let at = bitmapLength; at + noteLength <= length; at += noteLength) {
    const block = span + readUint16(entry, at)
    notes.push({ block, lost: readUint16(entry, at + 2), lostMax: readUint16(entry, at + 4) })
  }
  return notes
}

/**
 * A record that does not live any more, in one number: its place in its span, that of its block, and
 * whether it is the only one there: such a block need not be read.
 */
const markOf = (seqno: number, block: number, isAlone: boolean) =>
  (seqno % blockSpan) * (2 * blockSpan) + (block % blockSpan) * 2 + (isAlone ? 1 : 0)
const markedBit = (mark: number) => Math.floor(mark / (2 * blockSpan))
const markedBlock = (mark: number) => (mark >>> 1) % blockSpan
const isMarkedAlone = (mark: number) => (mark & 1) !== 0

/** Marks of one vbucket, by where their span begins. */
type Marks = Map<number, number[]>

export class SupersededRecords {
  readonly #environment: Environment
  readonly #marks = new Map<number, Marks>()
  readonly #place: SeqnoKey = { vbid: 0, seqno: 0 }
  readonly #bitmap = Buffer.alloc(bitmapLength)
  readonly #block = Buffer.allocUnsafeSlow(blockBytesMax)
  #entry = Buffer.alloc(4096)
  /** The notes of the span at hand: places of blocks, and for each place what is said of it. */
  readonly #noted: number[] = []
  readonly #lost = new Uint16Array(blockSpan)
  /** 0: there is no note. */
  readonly #lostMax = new Uint16Array(blockSpan)
  /** How many records a block loses now; all 0 in between. And which blocks do. */
  readonly #lostNow = new Uint16Array(blockSpan)
  readonly #losing = new Uint16Array(blockSpan)

  constructor(environment: Environment) {
    this.#environment = environment
  }

  /** Forgets what an aborted transaction has left, or all that is noted so far. */
  clear(): void {
    this.#marks.clear()
    this.#lostNow.fill(0)
  }

  /** The vbucket is removed. */
  forget(vbid: number): void {
    this.#marks.delete(vbid)
  }

  mark(vbid: number, block: number, seqno: number, isAlone = false): void {
    let spans = this.#marks.get(vbid)
    if (spans === undefined) this.#marks.set(vbid, (spans = new Map()))
    const span = spanOf(seqno)
    const marks = spans.get(span)
    if (marks === undefined) spans.set(span, [markOf(seqno, block, isAlone)])
    else marks.push(markOf(seqno, block, isAlone))
  }

  /** Writes what was noted. Blocks must be stored. */
  settle(): void {
    for (const [vbid, spans] of this.#marks) {
      for (const span of [...spans.keys()].sort((one, other) => one - other)) {
        this.#settle(vbid, span, spans.get(span)!)
      }
    }
    this.#marks.clear()
  }

  /** Of one span. */
  #settle(vbid: number, span: number, marks: readonly number[]): void {
    this.#read(vbid, span)
    const isStored = this.#noted.length > 0
    let count = 0
    for (const mark of marks) {
      const bit = markedBit(mark)
      const block = markedBlock(mark)
      this.#bitmap[bit >>> 3]! |= 1 << (bit & 7)
      if (isMarkedAlone(mark)) this.#remove(vbid, span + block)
      else if (this.#lostNow[block]!++ === 0) this.#losing[count++] = block
    }
    for (const block of this.#losing.subarray(0, count).sort()) {
      this.#note(vbid, span, block, this.#lostNow[block]!)
      this.#lostNow[block] = 0
    }
    if (this.#write(vbid, span) === 0 && isStored) {
      this.#environment.superseded.removeSync(this.#at(vbid, span))
    }
  }

  /** A block, named by its place in the span, loses so many records. */
  #note(vbid: number, span: number, block: number, lost: number): void {
    if (this.#lostMax[block] === 0) {
      const stored = this.#environment.blocks.getBinaryFast(this.#at(vbid, span + block))
      // It went in this transaction.
      if (stored === undefined) return
      this.#take(block, 0, lostMaxOf(stored, stored.length))
    }
    this.#lost[block]! += lost
    const isToShrink = this.#lost[block]! >= this.#lostMax[block]!
    if (isToShrink && this.#rewrite(vbid, span + block)) this.#lostMax[block] = 0
  }

  /** Writes the block without what does not live; false: it is left as it is. */
  #rewrite(vbid: number, block: number): boolean {
    const stored = this.#environment.blocks.getBinaryFast(this.#at(vbid, block))
    // What is damaged is left to whoever reads it.
    if (stored === undefined || !isBlockIntact(stored, stored.length)) return false
    let length = blockHeadLength
    // Where those begin that are to be copied, and follow each other.
    let from = blockHeadLength
    for (let at = blockHeadLength; ;) {
      const recordBytes = recordLengthIn(stored, at, stored.length)
      const isEnd = recordBytes === 0
      if (isEnd || isSuperseded(this.#bitmap, readSeqno(stored, at + headerLength))) {
        if (at > from) length += stored.copy(this.#block, length, from, at)
        if (isEnd) break
        from = at + recordBytes
      }
      at += recordBytes
    }
    if (length === blockHeadLength) this.#remove(vbid, block)
    else {
      sealBlock(this.#block, length)
      const rewritten = this.#block.subarray(0, length)
      this.#environment.blocks.putSync(this.#at(vbid, block), rewritten)
    }
    return true
  }

  #remove(vbid: number, block: number): void {
    this.#environment.blocks.removeSync(this.#at(vbid, block))
  }

  /** Takes the notes of a span; its bits go into the bit map. */
  #read(vbid: number, span: number): void {
    for (const block of this.#noted) this.#lostMax[block] = 0
    this.#noted.length = 0
    const stored = this.#environment.superseded.getBinaryFast(this.#at(vbid, span))
    if (stored === undefined) {
      this.#bitmap.fill(0)
      return
    }
    const { length } = stored
    this.#bitmap.set(stored.subarray(0, bitmapLength))
    for (let at = bitmapLength; at + noteLength <= length; at += noteLength) {
      const block = readUint16(stored, at)
      // What is damaged is left to whoever reads it.
      if (block < blockSpan)
        this.#take(block, readUint16(stored, at + 2), readUint16(stored, at + 4))
    }
  }

  #take(block: number, lost: number, lostMax: number): void {
    this.#noted.push(block)
    this.#lost[block] = lost
    this.#lostMax[block] = Math.max(1, lostMax)
  }

  /** Stores the notes of a span, if there are any, and returns how many. */
  #write(vbid: number, span: number): number {
    const lengthMax = bitmapLength + this.#noted.length * noteLength
    if (lengthMax > this.#entry.length) this.#entry = Buffer.alloc(2 * lengthMax)
    const entry = this.#entry
    let at = bitmapLength
    for (const block of this.#noted) {
      const lostMax = this.#lostMax[block]!
      if (lostMax === 0) continue
      writeUint16(entry, at, block)
      writeUint16(entry, at + 2, this.#lost[block]!)
      writeUint16(entry, at + 4, lostMax)
      at += noteLength
    }
    if (at === bitmapLength) return 0
    entry.set(this.#bitmap)
    this.#environment.superseded.putSync(this.#at(vbid, span), entry.subarray(0, at))
    return (at - bitmapLength) / noteLength
  }

  #at(vbid: number, seqno: number): SeqnoKey {
    const place = this.#place
    place.vbid = vbid
    place.seqno = seqno
    return place
  }
}

/** LMDB puts several values into one page that are not longer than this. */
const sharedBytesMax = 2000

function lostMaxOf(bytes: Buffer, length: number): number {
  const share = length > sharedBytesMax ? 1 / 2 : 3 / 4
  return Math.ceil(share * countInBlock(bytes, length))
}
