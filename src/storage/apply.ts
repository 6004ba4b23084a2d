/**
 * Applies records to one environment's tables, inside its write transaction, and keeps the
 * counts of the vbuckets it touches. Applying the same records again changes nothing, so a batch
 * that failed half-way is simply applied again from its beginning.
 */
import { fitsIntoBlock } from './block.ts'
import { BlockWriter } from './block-writer.ts'
import { decodeVbucketRecord, encodeVbucketRecord, type VbucketRecord } from './vbucket-record.ts'
import { documentEntryLength, DocumentEntry, writeDocumentEntry } from './document-entry.ts'
import type { Environment } from './environment.ts'
import type { DocumentKey, ExpiryKey, SeqnoKey } from './keys.ts'
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
  readonly #entry = new DocumentEntry()
  readonly #entryBytes = Buffer.alloc(documentEntryLength)
  readonly #tombstoneBytes = Buffer.alloc(tombstoneEntryLength)
  readonly #documentKey: DocumentKey = { vbid: 0, bytes: nothing, start: 0, length: 0 }
  readonly #seqnoKey: SeqnoKey = { vbid: 0, seqno: 0 }
  readonly #expiryKey: ExpiryKey = { expiry: 0, vbid: 0, seqno: 0 }
  readonly #blocks: BlockWriter
  readonly #superseded: SupersededRecords

  constructor(environment: Environment) {
    this.#environment = environment
    this.#blocks = new BlockWriter(environment)
    this.#superseded = new SupersededRecords(environment)
  }

  /** Call at the start of a transaction: what an aborted one left here is forgotten. */
  begin(): void {
    if (!this.#isCommitted) this.#vbuckets.clear()
    this.#isCommitted = false
    this.#changed.clear()
    this.#blocks.begin()
    this.#superseded.clear()
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
    this.#superseded.forget(vbid)
    this.#environment.vbuckets.removeSync(vbid)
  }

  /** All vbuckets have been emptied. */
  forgetRecords(): void {
    this.#superseded.clear()
  }

  /** A record is purged. */
  removeRecord(vbid: number, block: number, seqno: number): void {
    this.#superseded.mark(vbid, block, seqno)
  }

  /** Stores what has been applied: call before anything else of the transaction reads blocks. */
  flushBlocks(): void {
    this.#blocks.flush()
  }

  /** Writes one record; `nowSeconds` is when its tombstone, if it is one, begins to age. */
  apply(record: RecordView, nowSeconds: number): void {
    const { vbid, seqno } = record
    const vbucket = this.vbucket(vbid)
    // The vbucket was deleted after this change was made.
    if (vbucket === undefined) return
    this.#changed.add(vbid)
    const { documents, tombstones } = this.#environment
    const key = this.#documentKey
    key.vbid = vbid
    key.bytes = record.bytes
    key.start = record.keyStart
    key.length = record.keyLength
    const stored = documents.getBinaryFast(key)
    if (stored !== undefined) {
      const old = this.#entry.at(stored)
      if (old.seqno >= seqno) return
      this.#removeOld(key, old, vbucket)
    }
    const block = this.#blocks.append(record, vbucket.newestBlock ?? 0)
    vbucket.newestBlock = block
    writeDocumentEntry(record, block, this.#entryBytes)
    documents.putSync(key, this.#entryBytes)
    if (record.isDeletion) {
      const place = this.#seqnoKey
      place.vbid = vbid
      place.seqno = seqno
      writeTombstoneEntry({ nowSeconds, block, seqno }, this.#tombstoneBytes)
      tombstones.putSync(place, this.#tombstoneBytes)
      vbucket.tombstones++
    } else {
      vbucket.items++
      if (record.expiry !== 0) this.#addExpiry(record.expiry, vbid, seqno)
    }
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
    this.#blocks.flush()
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

  #removeOld(key: DocumentKey, old: DocumentEntry, vbucket: VbucketRecord): void {
    const { vbid } = key
    const { isDeletion, expiry, seqno, block, kind, valueLength } = old
    const isAlone = !fitsIntoBlock(recordLength(kind, key.length, valueLength))
    if (isAlone) this.#superseded.markAll(vbid, block)
    else this.#superseded.mark(vbid, block, seqno)
    if (isDeletion) {
      const place = this.#seqnoKey
      place.vbid = vbid
      place.seqno = seqno
      this.#environment.tombstones.removeSync(place)
      vbucket.tombstones--
      return
    }
    vbucket.items--
    if (expiry === 0) return
    const due = this.#expiryKey
    due.expiry = expiry
    due.vbid = vbid
    due.seqno = seqno
    this.#environment.expiries.removeSync(due)
  }

  #addExpiry(expiry: number, vbid: number, seqno: number): void {
    const due = this.#expiryKey
    due.expiry = expiry
    due.vbid = vbid
    due.seqno = seqno
    this.#environment.expiries.putSync(due, nothing)
  }
}
