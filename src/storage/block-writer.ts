/** Gathers records into blocks, inside a write transaction, and stores the blocks. */
import type { Environment } from './environment.ts'
import {
  blockBytesMax,
  blockHeadLength,
  fitsIntoBlock,
  sealBlock,
  sealLonger,
  spanOf,
} from './block.ts'
import type { SeqnoKey } from './keys.ts'
import { copySealed, type RecordView } from './record.ts'

/** Memory for one large record is kept up to here: where there is one, others mostly follow. */
const keptBytesMax = 1024 * 1024

export class BlockWriter {
  readonly #environment: Environment
  /** Name of the block that is open; meaningless while `#length` is 0. */
  readonly #place: SeqnoKey = { vbid: 0, seqno: 0 }
  #bytes = Buffer.allocUnsafeSlow(blockBytesMax)
  #length = 0
  /** How long the block was when it was stored last; 0 for a new one. */
  #stored = 0

  constructor(environment: Environment) {
    this.#environment = environment
  }

  /** Forgets what an aborted transaction has left. */
  begin(): void {
    this.#length = 0
  }

  /**
   * Adds the newest record of its vbucket and returns the name of the block that it is in.
   * `newest` names the vbucket's newest block; 0 when it has none.
   */
  append(record: RecordView, newest: number): number {
    const { vbid, seqno, length } = record
    const place = this.#place
    if (this.#length === 0 || place.vbid !== vbid || !this.#hasRoom(length, seqno)) {
      const isFull = this.#length !== 0 && place.vbid === vbid
      this.flush()
      place.vbid = vbid
      if (isFull || newest === 0 || !this.#reopen(newest, length, seqno)) this.#open(seqno, length)
    }
    copySealed(record, this.#bytes, this.#length)
    this.#length += length
    return place.seqno
  }

  /** Stores the block that is open. Call before blocks are read, and at the end. */
  flush(): void {
    if (this.#length === 0) return
    if (this.#stored > 0) sealLonger(this.#bytes, this.#stored, this.#length)
    else sealBlock(this.#bytes, this.#length)
    this.#environment.blocks.putSync(this.#place, this.#bytes.subarray(0, this.#length))
    this.#length = 0
    if (this.#bytes.length > keptBytesMax) this.#bytes = Buffer.allocUnsafeSlow(blockBytesMax)
  }

  #hasRoom(recordBytes: number, seqno: number): boolean {
    return (
      this.#length + recordBytes <= blockBytesMax && spanOf(seqno) === spanOf(this.#place.seqno)
    )
  }

  #open(seqno: number, recordBytes: number): void {
    this.#place.seqno = seqno
    this.#length = blockHeadLength
    this.#stored = 0
    const needed = blockHeadLength + recordBytes
    if (needed > this.#bytes.length) this.#bytes = Buffer.allocUnsafeSlow(needed)
  }

  /** Goes on with a block that is stored, unless it is full. */
  #reopen(newest: number, recordBytes: number, seqno: number): boolean {
    if (!fitsIntoBlock(recordBytes)) return false
    this.#place.seqno = newest
    const stored = this.#environment.blocks.getBinaryFast(this.#place)
    if (stored === undefined || stored.length + recordBytes > blockBytesMax) return false
    this.#length = stored.length
    if (!this.#hasRoom(recordBytes, seqno)) {
      this.#length = 0
      return false
    }
    this.#bytes.set(stored.subarray(0, stored.length))
    this.#stored = this.#length
    return true
  }
}
