/**
 * The main thread's reads of what the flusher has committed. Every read is a short synchronous
 * look-up in mapped memory; what it shows is valid until the next one.
 */
import { StatusError } from '../errors.ts'
import { Status } from '../../protocol/status.ts'
import { findInBlock, recordLengthIn } from './block.ts'
import { BlockScan, blockWith } from './block-scan.ts'
import type { DocumentEntry } from './document-entry.ts'
import type { Environment } from './environment.ts'
import { IndexReader } from './index-reader.ts'
import type { SeqnoKey } from './keys.ts'
import { isIntact, RecordView } from './record.ts'

/** Where a record is. */
export interface Place {
  readonly seqno: number
  /** Name of its block. */
  readonly block: number
}

export interface DueDocument {
  expiry: number
  vbid: number
  seqno: number
}

export class DiskReader {
  readonly #environments: readonly Environment[]
  readonly #indexes: IndexReader[]
  readonly #seqnoKey: SeqnoKey = { vbid: 0, seqno: 0 }
  readonly #record = new RecordView()
  readonly #scans: BlockScan[]
  readonly #onDamage: (vbid: number, seqno: number, cause: unknown) => void

  constructor(
    environments: readonly Environment[],
    onDamage: (vbid: number, seqno: number, cause: unknown) => void,
  ) {
    this.#environments = environments
    this.#scans = environments.map(environment => new BlockScan(environment))
    this.#indexes = environments.map(environment => new IndexReader(environment))
    this.#onDamage = onDamage
  }

  /** The flusher has committed: later reads see it. */
  refresh(): void {
    for (const environment of this.#environments) environment.refresh()
  }

  /** An environment is another one. */
  replaced(index: number): void {
    const environment = this.#environments[index]!
    this.#scans[index] = new BlockScan(environment)
    this.#indexes[index] = new IndexReader(environment)
  }

  /** Where a key's newest version is and its metadata; undefined when the key is unknown. */
  entry(vbid: number, bytes: Uint8Array, start: number, length: number): DocumentEntry | undefined {
    try {
      return this.#indexes[vbid % this.#indexes.length]!.find(vbid, bytes, start, length)
    } catch (cause) {
      return this.#unreadable(vbid, 0, cause)
    }
  }

  /** Shows the record that a key's `entry` names, which must be there and be of that key. */
  document(
    vbid: number,
    { seqno, block }: Place,
    bytes: Uint8Array,
    start: number,
    length: number,
    view: RecordView,
  ): void {
    if (!this.#inBlock(vbid, block, seqno, view) || !hasKey(view, bytes, start, length)) {
      this.#damaged(vbid, seqno, new Error('a document entry names a record that is not its own'))
    }
  }

  /** Shows the record with this seqno; false if it is not there. It may have been superseded. */
  record(vbid: number, seqno: number, view: RecordView): boolean {
    const find = () => blockWith(this.#environmentOf(vbid), vbid, seqno)
    return this.#inBlock(vbid, this.#guard(vbid, seqno, find), seqno, view)
  }

  #inBlock(vbid: number, block: number, seqno: number, view: RecordView): boolean {
    const key = this.#seqnoKey
    key.vbid = vbid
    key.seqno = block
    const stored = this.#guard(vbid, seqno, () =>
      this.#environmentOf(vbid).blocks.getBinaryFast(key),
    )
    if (stored === undefined) return false
    const found = asBuffer(stored)
    const at = findInBlock(found, found.length, seqno)
    if (at === 0) return false
    if (!isIntact(found, at, recordLengthIn(found, at, found.length), vbid, seqno)) {
      this.#damaged(vbid, seqno, new Error('record does not match its checksum'))
    }
    view.at(found, at)
    return true
  }

  get environmentCount(): number {
    return this.#environments.length
  }

  /**
   * Documents of an environment whose expiry has passed, oldest first, at most `countMax`,
   * behind `after`.
   */
  due(
    environment: number,
    after: DueDocument | undefined,
    nowSeconds: number,
    countMax: number,
  ): DueDocument[] {
    const start = after ? { ...after, seqno: after.seqno + 1 } : { expiry: 0, vbid: 0, seqno: 0 }
    const end = { expiry: nowSeconds + 1, vbid: 0, seqno: 0 }
    const range = { start, end, limit: countMax }
    return [...this.#environments[environment]!.expiries.getKeys(range)]
  }

  /** Shows the first of the next `countMax` records from a place on that is `wanted`. */
  firstFrom(
    vbid: number,
    seqno: number,
    countMax: number,
    view: RecordView,
    wanted: (record: RecordView) => boolean,
  ): boolean {
    const scan = this.#scans[vbid % this.#environments.length]!
    return this.#guard(vbid, seqno, () => {
      let count = 0
      for (const shown of scan.blocks({ vbid, from: seqno, to: Infinity })) {
        for (const found of shown.live()) {
          if (found.seqno < seqno) continue
          if (++count > countMax) return false
          if (!wanted(this.#record.at(shown.bytes, found.at))) continue
          view.at(Buffer.from(shown.bytes.subarray(found.at, found.at + found.length)), 0)
          return true
        }
      }
      return false
    })
  }

  #environmentOf(vbid: number): Environment {
    return this.#environments[vbid % this.#environments.length]!
  }

  #guard<Value>(vbid: number, seqno: number, read: () => Value): Value {
    try {
      return read()
    } catch (cause) {
      return this.#unreadable(vbid, seqno, cause)
    }
  }

  #unreadable(vbid: number, seqno: number, cause: unknown): never {
    // LMDB answers nothing any more from a transaction that has met a damaged page.
    this.#environmentOf(vbid).refresh()
    return this.#damaged(vbid, seqno, cause)
  }

  #damaged(vbid: number, seqno: number, cause: unknown): never {
    this.#onDamage(vbid, seqno, cause)
    throw new StatusError(Status.internalError, 'a page of the store is damaged', { cause })
  }
}

/** Beyond 16 MiB lmdb shows a value not in its own buffer but in place, as a plain array. */
function asBuffer(stored: Uint8Array): Buffer {
  return Buffer.isBuffer(stored)
    ? stored.subarray(0, stored.length)
    : Buffer.from(stored.buffer as ArrayBuffer, stored.byteOffset, stored.length)
}

function hasKey(record: RecordView, key: Uint8Array, start: number, length: number): boolean {
  if (record.keyLength !== length) return false
  const { bytes, keyStart } = record
  for (let i = 0; i < length; i++) if (bytes[keyStart + i] !== key[start + i]) return false
  return true
}
