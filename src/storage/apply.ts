/**
 * Applies records to one environment's tables, inside its write transaction, and keeps the
 * counts of the vbuckets it touches. Records go into blocks one by one; what follows from them in
 * the index by key, and for the versions that they take the place of, is done for many at once.
 */
import { fitsIntoBlock } from './block.ts'
import { BlockWriter } from './block-writer.ts'
import { CollectionCounts } from './collection-counts.ts'
import { decodeVbucketRecord, encodeVbucketRecord, type VbucketRecord } from './vbucket-record.ts'
import type { DocumentEntry } from './document-entry.ts'
import type { Environment } from './environment.ts'
import { IndexWriter } from './index-writer.ts'
import type { ExpiryKey, SeqnoKey } from './keys.ts'
import { recordLength, type RecordView } from './record.ts'
import { SupersededRecords } from './superseded.ts'
import { writeTombstoneEntry, tombstoneEntryLength } from './tombstone-entry.ts'

const nothing = Buffer.alloc(0)

export class Applier {
  readonly #environment: Environment
  /** Vbuckets as the transaction has them. They are kept for the next one: nobody else writes. */
  readonly #vbuckets = new Map<number, VbucketRecord>()
  /** Of these, the ones that differ from what is stored. */
  readonly #changed = new Set<number>()
  #isCommitted = true
  readonly #tombstoneBytes = Buffer.alloc(tombstoneEntryLength)
  readonly #seqnoKey: SeqnoKey = { vbid: 0, seqno: 0 }
  readonly #expiryKey: ExpiryKey = { expiry: 0, vbid: 0, seqno: 0 }
  readonly #blocks: BlockWriter
  readonly #index: IndexWriter
  readonly #superseded: SupersededRecords
  readonly #collections: CollectionCounts

  constructor(environment: Environment) {
    this.#environment = environment
    this.#blocks = new BlockWriter(environment)
    this.#index = new IndexWriter(environment, (vbid, old) => this.#replaced(vbid, old))
    this.#superseded = new SupersededRecords(environment)
    this.#collections = new CollectionCounts(environment)
  }

  /** Call at the start of a transaction: what an aborted one left here is forgotten. */
  begin(): void {
    if (!this.#isCommitted) this.#vbuckets.clear()
    this.#isCommitted = false
    this.#changed.clear()
    this.#blocks.begin()
    this.#index.clear()
    this.#superseded.clear()
    this.#collections.clear()
  }

  /** Call when the transaction is on disk. */
  committed(): void {
    this.#isCommitted = true
  }

  /** The vbucket's record as this transaction has it; undefined when there is none. */
  vbucket(vbid: number): VbucketRecord | undefined {
    const known = this.#vbuckets.get(vbid)
    if (known) return known
    const stored = this.#environment.vbuckets.getBinary(vbid)
    if (stored === undefined) return undefined
    const record = decodeVbucketRecord(stored)
    this.#vbuckets.set(vbid, record)
    return record
  }

  setVbucket(vbid: number, record: VbucketRecord): void {
    this.#vbuckets.set(vbid, record)
    this.#changed.add(vbid)
  }

  forgetVbucket(vbid: number): void {
    this.#vbuckets.delete(vbid)
    this.#changed.delete(vbid)
    this.#index.forget(vbid)
    this.#superseded.forget(vbid)
    this.#collections.clear()
    this.#environment.vbuckets.removeSync(vbid)
  }

  /** All vbuckets have been emptied. */
  forgetRecords(): void {
    this.#index.clear()
    this.#superseded.clear()
    this.#collections.clear()
  }

  /** A record is purged or erased. */
  remove(record: RecordView, block: number): void {
    const { vbid, seqno } = record
    this.#index.remove(record)
    this.#superseded.mark(vbid, block, seqno, !fitsIntoBlock(record.length))
  }

  /** Stores what has been applied: call before anything else of the transaction reads it. */
  flush(): void {
    this.#blocks.flush()
    // It tells of versions that are replaced, which are counted off.
    this.#index.merge()
    this.#collections.finish()
  }

  /**
   * Writes one record; `nowSeconds` is when its tombstone, if it is one, begins to age. Those of a
   * vbucket come in the order of their seqnos, and are followed by `advance`: what it has reached
   * was applied before.
   */
  apply(record: RecordView, nowSeconds: number): void {
    const { vbid, seqno } = record
    const vbucket = this.vbucket(vbid)
    // The vbucket was deleted after this change was made.
    if (vbucket === undefined || seqno <= vbucket.highSeqno) return
    this.#changed.add(vbid)
    this.#collections.stored(record, vbucket)
    const block = this.#blocks.append(record, vbucket.newestBlock ?? 0)
    vbucket.newestBlock = block
    if (record.isDeletion) {
      const place = this.#seqnoKey
      place.vbid = vbid
      place.seqno = seqno
      writeTombstoneEntry({ nowSeconds, block, seqno }, this.#tombstoneBytes)
      this.#environment.tombstones.putSync(place, this.#tombstoneBytes)
      vbucket.tombstones++
    } else if (record.expiry !== 0) {
      this.#environment.expiries.putSync(this.#due(record.expiry, vbid, seqno), nothing)
    }
    if (this.#index.put(record, block)) this.flush()
  }

  /** Raises a vbucket's high seqno and greatest CAS to what its changes brought. */
  advance(vbid: number, highSeqno: number, maxCas: bigint): void {
    const vbucket = this.vbucket(vbid)
    if (vbucket === undefined) return
    this.#changed.add(vbid)
    vbucket.highSeqno = Math.max(vbucket.highSeqno, highSeqno)
    if (maxCas > BigInt(`0x${vbucket.maxCas}`)) vbucket.maxCas = maxCas.toString(16)
  }

  /** Writes what has gathered; the last thing in the transaction. */
  finish(): void {
    this.flush()
    this.#superseded.settle()
    for (const vbid of this.#changed) {
      const record = this.#vbuckets.get(vbid)!
      this.#environment.vbuckets.putSync(vbid, encodeVbucketRecord(record))
    }
  }

  /** What the transaction, once committed, has on disk. */
  *persisted(): Generator<{ vbid: number; highSeqno: number }> {
    for (const vbid of this.#changed) yield { vbid, highSeqno: this.#vbuckets.get(vbid)!.highSeqno }
  }

  /** A version is not the newest of its key any more. */
  #replaced(vbid: number, old: DocumentEntry): void {
    const vbucket = this.vbucket(vbid)!
    const { isDeletion, expiry, seqno, block, kind, valueLength, keyLength, flags } = old
    const isAlone = !fitsIntoBlock(recordLength(kind, keyLength, valueLength, flags))
    this.#superseded.mark(vbid, block, seqno, isAlone)
    if (isDeletion) {
      const place = this.#seqnoKey
      place.vbid = vbid
      place.seqno = seqno
      this.#environment.tombstones.removeSync(place)
      vbucket.tombstones--
      return
    }
    this.#collections.replaced(old, vbid, vbucket)
    if (expiry !== 0) this.#environment.expiries.removeSync(this.#due(expiry, vbid, seqno))
  }

  #due(expiry: number, vbid: number, seqno: number): ExpiryKey {
    const due = this.#expiryKey
    due.expiry = expiry
    due.vbid = vbid
    due.seqno = seqno
    return due
  }
}
