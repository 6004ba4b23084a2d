/**
 * Notes, inside a write transaction, which records of which blocks have been superseded or purged.
 * A block that has lost half of its records is written anew without them; one that has lost all is
 * removed. So what is stored stays below twice of what lives, and a record is written anew about
 * once in its life.
 *
 * The table `superseded` has an entry for each block that lost some:
 *
 *   | records u16 | bit map: bit i of it (from the lowest of each byte) is the seqno block + i |
 *
 * `records` is how many there were in the block when the first was noted. A block that is still
 * being added to has more by now, and is then looked at earlier than it needs to be.
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
} from './block.ts'
import { readSeqno, readUint16, writeUint16 } from '../../protocol/bytes.ts'
import { headerLength } from '../../protocol/header.ts'
import type { SeqnoKey } from './keys.ts'

const headLength = 2

/** Whether `entry`, of the table `superseded`, says so of a record of this block. */
export function isSuperseded(entry: Uint8Array, block: number, seqno: number): boolean {
  const bit = seqno - block
  const byte = entry[headLength + (bit >>> 3)]
  return byte !== undefined && (byte & (1 << (bit & 7))) !== 0
}

/** What has been noted of one block in this transaction. */
class Marks {
  readonly seqnos: number[] = []
  /** Its only record is superseded. */
  isAll = false
}

export class SupersededRecords {
  readonly #environment: Environment
  readonly #marks = new Map<number, Map<number, Marks>>()
  readonly #place: SeqnoKey = { vbid: 0, seqno: 0 }
  readonly #entry = Buffer.alloc(headLength + blockSpan / 8)
  readonly #block = Buffer.allocUnsafeSlow(blockBytesMax)

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

  mark(vbid: number, block: number, seqno: number): void {
    this.#marksOf(vbid, block).seqnos.push(seqno)
  }

  /** Marks the only record of a block, which then need not be read. */
  markAll(vbid: number, block: number): void {
    this.#marksOf(vbid, block).isAll = true
  }

  /** Writes what was noted. Blocks must be stored. */
  settle(): void {
    const place = this.#place
    for (const [vbid, blocks] of this.#marks) {
      for (const [block, marks] of blocks) {
        place.vbid = vbid
        place.seqno = block
        if (marks.isAll) this.#remove()
        else this.#settle(marks.seqnos)
      }
    }
    this.#marks.clear()
  }

  #marksOf(vbid: number, block: number): Marks {
    let blocks = this.#marks.get(vbid)
    if (blocks === undefined) this.#marks.set(vbid, (blocks = new Map<number, Marks>()))
    let marks = blocks.get(block)
    if (marks === undefined) blocks.set(block, (marks = new Marks()))
    return marks
  }

  #settle(seqnos: readonly number[]): void {
    const place = this.#place
    const entry = this.#entry
    const stored = this.#environment.superseded.getBinaryFast(place)
    let length = headLength
    if (stored !== undefined) {
      length = stored.length
      entry.set(stored.subarray(0, length))
    } else {
      const block = this.#environment.blocks.getBinaryFast(place)
      // It went in this transaction.
      if (block === undefined) return
      writeUint16(entry, 0, countInBlock(block, block.length))
    }
    for (const seqno of seqnos) {
      const bit = seqno - place.seqno
      const at = headLength + (bit >>> 3)
      while (length <= at) entry[length++] = 0
      entry[at]! |= 1 << (bit & 7)
    }
    const noted = entry.subarray(0, length)
    if (2 * bitsIn(noted, headLength) >= readUint16(noted, 0) && this.#rewrite(noted)) return
    this.#environment.superseded.putSync(place, noted)
  }

  /** Writes the block without what `entry` says is superseded; false: it is left as it is. */
  #rewrite(entry: Uint8Array): boolean {
    const place = this.#place
    const stored = this.#environment.blocks.getBinaryFast(place)
    // What is damaged is left to whoever reads it.
    if (stored === undefined || !isBlockIntact(stored, stored.length)) return false
    let length = blockHeadLength
    for (let at = blockHeadLength; ;) {
      const recordBytes = recordLengthIn(stored, at, stored.length)
      if (recordBytes === 0) break
      if (!isSuperseded(entry, place.seqno, readSeqno(stored, at + headerLength))) {
        stored.copy(this.#block, length, at, at + recordBytes)
        length += recordBytes
      }
      at += recordBytes
    }
    if (length === blockHeadLength) this.#remove()
    else {
      sealBlock(this.#block, length)
      this.#environment.blocks.putSync(place, this.#block.subarray(0, length))
      this.#environment.superseded.removeSync(place)
    }
    return true
  }

  #remove(): void {
    this.#environment.blocks.removeSync(this.#place)
    this.#environment.superseded.removeSync(this.#place)
  }
}

function bitsIn(bytes: Uint8Array, start: number): number {
  let count = 0
  for (let at = start; at < bytes.length; at++) {
    for (let bits = bytes[at]!; bits !== 0; bits &= bits - 1) count++
  }
  return count
}
