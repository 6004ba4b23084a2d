/**
 * Goes through the blocks of a vbucket, from the one on that has a given seqno. What it shows of a
 * block is in one object and in memory that are used again.
 */
import type { Transaction } from 'lmdb'
import { readSeqno } from '../../protocol/bytes.ts'
import { headerLength } from '../../protocol/header.ts'
import { blockBytesMax, blockHeadLength, recordLengthIn, spanOf } from './block.ts'
import type { Environment } from './environment.ts'
import { isSuperseded } from './superseded.ts'

export interface BlockBounds {
  vbid: number
  /** The first record that is asked for; its block is the first that is shown. */
  from: number
  /** Inclusive. */
  to: number
  /** Name of the block that has `from` or is in front of it, where that is known. */
  first?: number | undefined
  /** The newest commit, if not given. */
  transaction?: Transaction
  /**
   * Nothing else is read of the environment before the next step: then most blocks are shown where
   * lmdb has put them, and not copied once more.
   */
  readsAlone?: boolean
}

/** The block that the scan has come to; valid until its next step. Its bytes may be written to. */
export class ScannedBlock {
  /** Name of the block. */
  block = 0
  bytes: Buffer = Buffer.allocUnsafeSlow(blockBytesMax)
  length = 0
  /** See superseded.ts; undefined when all records of the span live. */
  superseded: Buffer | undefined

  /** Whether a record of the block is the newest of its key. */
  isLive(seqno: number): boolean {
    return this.superseded === undefined || !isSuperseded(this.superseded, seqno)
  }

  /** Where the records lie that live, with their seqnos. */
  *live(): Generator<{ at: number; length: number; seqno: number }> {
    for (let at = blockHeadLength; ;) {
      const length = recordLengthIn(this.bytes, at, this.length)
      if (length === 0) return
      const seqno = readSeqno(this.bytes, at + headerLength)
      if (this.isLive(seqno)) yield { at, length, seqno }
      at += length
    }
  }
}

const endless = 2 ** 62

export class BlockScan {
  readonly #environment: Environment
  readonly #shown = new ScannedBlock()
  readonly #own = this.#shown.bytes

  constructor(environment: Environment) {
    this.#environment = environment
  }

  *blocks(bounds: BlockBounds): Generator<ScannedBlock> {
    const { vbid, from, to, transaction, readsAlone = false } = bounds
    const { blocks, superseded } = this.#environment
    const options = transaction === undefined ? {} : { transaction }
    const shown = this.#shown
    const first =
      bounds.first ?? (from <= 1 ? 0 : blockWith(this.#environment, vbid, from, options))
    const end = { vbid, seqno: Math.min(to, endless) + 1 }
    // Of what is shown of superseded records.
    let span = -1
    for (const { key, value } of blocks.getRange({
      start: { vbid, seqno: first },
      end,
      ...options,
    })) {
      const isNewSpan = spanOf(key.seqno) !== span
      shown.block = key.seqno
      shown.length = value.length
      if (readsAlone && !isNewSpan && value.length <= blockBytesMax) shown.bytes = value
      else shown.bytes = this.#copy(value)
      if (isNewSpan) {
        // It takes the memory that lmdb has put the block into.
        span = spanOf(key.seqno)
        const entry = superseded.getBinaryFast({ vbid, seqno: span }, options)
        shown.superseded = entry && Buffer.from(entry.subarray(0, entry.length))
      }
      yield shown
    }
  }

  #copy(value: Buffer): Buffer {
    const copy = value.length <= this.#own.length ? this.#own : Buffer.alloc(value.length)
    copy.set(value)
    return copy
  }
}

/** Name of the block that a record with this seqno would be in; the seqno, if there is none. */
export function blockWith(
  { blocks }: Environment,
  vbid: number,
  seqno: number,
  options: { transaction?: Transaction } = {},
): number {
  const below = { start: { vbid, seqno }, end: { vbid, seqno: 0 }, reverse: true, limit: 1 }
  for (const { seqno: block } of blocks.getKeys({ ...below, ...options })) return block
  return seqno
}
