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

/** One record that does not live any more. */
interface Mark {
  readonly seqno: number
  readonly block: number
  /** It is the only one of its block, which then need not be read. */
  readonly isAlone: boolean
}

export class SupersededRecords {
  readonly #environment: Environment
  readonly #marks = new Map<number, Mark[]>()
  readonly #place: SeqnoKey = { vbid: 0, seqno: 0 }
  readonly #bitmap = Buffer.alloc(bitmapLength)
  readonly #block = Buffer.allocUnsafeSlow(blockBytesMax)
  #entry = Buffer.alloc(4096)

  constructor(environment: Environment) {
    this.#environment = environment
  }

  /** Forgets what an aborted transaction has left, or all that is noted so far. */
  clear(): void {
    this.#marks.clear()
  }

  /** The vbucket is removed. */
  forget(vbid: number): void {
    this.#marks.delete(vbid)
  }

  mark(vbid: number, block: number, seqno: number, isAlone = false): void {
    let marks = this.#marks.get(vbid)
    if (marks === undefined) this.#marks.set(vbid, (marks = []))
    marks.push({ seqno, block, isAlone })
  }

  /** Writes what was noted. Blocks must be stored. */
  settle(): void {
    for (const [vbid, marks] of this.#marks) {
      marks.sort((one, other) => one.seqno - other.seqno)
      for (let first = 0; first < marks.length;) {
        const span = spanOf(marks[first]!.seqno)
        let end = first
        while (end < marks.length && marks[end]!.seqno < span + blockSpan) end++
        this.#settle(vbid, span, marks.slice(first, end))
        first = end
      }
    }
    this.#marks.clear()
  }

  /** Of one span. */
  #settle(vbid: number, span: number, marks: readonly Mark[]): void {
    const notes = this.#read(vbid, span)
    const before = notes.size
    for (const { seqno } of marks) {
      const bit = seqno - span
      this.#bitmap[bit >>> 3]! |= 1 << (bit & 7)
    }
    for (let i = 0; i < marks.length;) {
      const { block, isAlone } = marks[i]!
      const first = i
      while (i < marks.length && marks[i]!.block === block) i++
      if (isAlone) this.#remove(vbid, block)
      else this.#note(vbid, block, i - first, notes)
    }
    if (notes.size > 0) this.#write(vbid, span, notes)
    else if (before > 0) this.#environment.superseded.removeSync(this.#at(vbid, span))
  }

  #note(vbid: number, block: number, lost: number, notes: Map<number, BlockNote>): void {
    let note = notes.get(block)
    if (note === undefined) {
      const stored = this.#environment.blocks.getBinaryFast(this.#at(vbid, block))
      // It went in this transaction.
      if (stored === undefined) return
      note = { block, lost: 0, lostMax: lostMaxOf(stored, stored.length) }
      notes.set(block, note)
    }
    note.lost += lost
    if (note.lost >= note.lostMax && this.#rewrite(vbid, block)) notes.delete(block)
  }

  /** Writes the block without what does not live; false: it is left as it is. */
  #rewrite(vbid: number, block: number): boolean {
    const stored = this.#environment.blocks.getBinaryFast(this.#at(vbid, block))
    // What is damaged is left to whoever reads it.
    if (stored === undefined || !isBlockIntact(stored, stored.length)) return false
    let length = blockHeadLength
    for (let at = blockHeadLength; ;) {
      const recordBytes = recordLengthIn(stored, at, stored.length)
      if (recordBytes === 0) break
      if (!isSuperseded(this.#bitmap, readSeqno(stored, at + headerLength))) {
        stored.copy(this.#block, length, at, at + recordBytes)
        length += recordBytes
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

  /** The notes of a span; its bits go into the bit map. */
  #read(vbid: number, span: number): Map<number, BlockNote> {
    const stored = this.#environment.superseded.getBinaryFast(this.#at(vbid, span))
    if (stored === undefined) {
      this.#bitmap.fill(0)
      return new Map()
    }
    this.#bitmap.set(stored.subarray(0, bitmapLength))
    const notes = notesIn(stored, stored.length, span)
    return new Map(notes.map(note => [note.block, note]))
  }

  #write(vbid: number, span: number, notes: Map<number, BlockNote>): void {
    const length = bitmapLength + notes.size * noteLength
    if (length > this.#entry.length) this.#entry = Buffer.alloc(2 * length)
    const entry = this.#entry
    entry.set(this.#bitmap)
    let at = bitmapLength
    for (const { block, lost, lostMax } of notes.values()) {
      writeUint16(entry, at, block - span)
      writeUint16(entry, at + 2, lost)
      writeUint16(entry, at + 4, lostMax)
      at += noteLength
    }
    this.#environment.superseded.putSync(this.#at(vbid, span), entry.subarray(0, length))
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
