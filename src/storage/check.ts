/**
 * Reads all of an environment and says whether its tables tell the same story. Slow: for a start
 * that has reason to doubt its files, and for tests.
 */
import type { DocumentEntry } from './document-entry.ts'
import { countInBlock, isBlockIntact, spanOf } from './block.ts'
import { BlockScan, type ScannedBlock } from './block-scan.ts'
import { checkIndex } from './check-index.ts'
import { collectionsOf, decodeCollectionRecord } from './collection-record.ts'
import type { Environment } from './environment.ts'
import { nothingHeld, type Held } from './held.ts'
import { IndexReader } from './index-reader.ts'
import type { ExpiryKey } from './keys.ts'
import { collectionOf, defaultCollection, systemCollection } from './record-key.ts'
import { isIntact, RecordView } from './record.ts'
import { notesIn } from './superseded.ts'
import { blockOfTombstone } from './tombstone-entry.ts'
import { decodeVbucketRecord, type VbucketRecord } from './vbucket-record.ts'

/** What was counted of one vbucket. */
interface Count {
  records: number
  /** By collection. */
  held: Map<number, Held>
  tombstones: number
  expiring: number
  /** Blocks that have lost records. */
  lossy: number
  lastSeqno: number
}

const nothingCounted = { records: 0, tombstones: 0, expiring: 0, lossy: 0, lastSeqno: 0 }

/** What is wrong, in sentences; at most `problemsMax` of them. */
export function checkEnvironment(environment: Environment, problemsMax = 20): string[] {
  return new Check(environment, problemsMax).run()
}

class Check {
  readonly #environment: Environment
  readonly #problemsMax: number
  readonly #problems: string[] = []
  readonly #counts = new Map<number, Count>()
  readonly #record = new RecordView()
  readonly #index: IndexReader

  constructor(environment: Environment, problemsMax: number) {
    this.#environment = environment
    this.#index = new IndexReader(environment)
    this.#problemsMax = problemsMax
  }

  run(): string[] {
    const { tombstones, expiries, vbuckets } = this.#environment
    const start = { vbid: 0, seqno: 0 }
    this.#checkBlocks()
    this.#compare('blocks noted', this.#noted(), of => of.lossy)
    const indexed = checkIndex(this.#environment, (vbid, text) => this.#problem(vbid, text))
    this.#compare('documents', indexed, of => of.records)
    this.#compare('tombstone entries', tombstones.getKeys({ start }), of => of.tombstones)
    const firstExpiry: ExpiryKey = { expiry: 0, ...start }
    this.#compare('expiry entries', expiries.getKeys({ start: firstExpiry }), of => of.expiring)
    const stored = new Set<number>()
    for (const { key, value } of vbuckets.getRange({})) {
      stored.add(key)
      const record = decodeVbucketRecord(value)
      if (!record.dropping) this.#checkVbucket(key, record)
    }
    for (const vbid of this.#counts.keys()) {
      if (!stored.has(vbid)) this.#problem(vbid, 'it has records but is not stored itself')
    }
    return this.#problems
  }

  #checkBlocks(): void {
    const scan = new BlockScan(this.#environment)
    const vbids = new Set<number>()
    for (const { vbid } of this.#environment.blocks.getKeys({ start: { vbid: 0, seqno: 0 } })) {
      vbids.add(vbid)
    }
    for (const vbid of vbids) {
      let last = 0
      for (const shown of scan.blocks({ vbid, from: 0, to: Infinity })) {
        last = this.#checkBlock(vbid, shown, last)
      }
    }
  }

  /** `last` is the last seqno of the block before; returns that of this one. */
  #checkBlock(vbid: number, shown: ScannedBlock, last: number): number {
    const { block, bytes, length } = shown
    if (!isBlockIntact(bytes, length)) {
      this.#problem(vbid, `block ${block} does not match its checksum`)
    }
    if (block <= last) this.#problem(vbid, `block ${block} begins before the one in front ends`)
    let before = block - 1
    let lives = 0
    for (const { at, length: recordBytes, seqno } of shown.live()) {
      if (seqno <= before) this.#problem(vbid, `record ${seqno} lies behind ${before}`)
      before = seqno
      lives++
      this.#checkRecord(vbid, seqno, block, bytes.subarray(at, at + recordBytes))
    }
    if (lives === 0) this.#problem(vbid, `nothing in block ${block} lives`)
    this.#checkNote(vbid, shown, countInBlock(bytes, length) - lives)
    return before
  }

  /** `lost` is how many records of the block do not live. */
  #checkNote(vbid: number, { block, superseded }: ScannedBlock, lost: number): void {
    const notes =
      superseded === undefined ? [] : notesIn(superseded, superseded.length, spanOf(block))
    const noted = notes.find(note => note.block === block)
    this.#equal(vbid, `records lost by block ${block}`, noted?.lost ?? 0, lost)
    if (lost > 0) this.#countOf(vbid).lossy++
  }

  /** One object for each block of which something is noted. */
  #noted(): { vbid: number }[] {
    const entries = this.#environment.superseded.getRange({ start: { vbid: 0, seqno: 0 } })
    return [...entries].flatMap(({ key: { vbid, seqno }, value }) =>
      notesIn(value, value.length, seqno).map(() => ({ vbid })),
    )
  }

  #checkRecord(vbid: number, seqno: number, block: number, value: Buffer): void {
    const place = { vbid, seqno }
    const count = this.#countOf(vbid)
    count.records++
    count.lastSeqno = seqno
    if (!isIntact(value, 0, value.length, vbid, seqno)) {
      this.#problem(vbid, `record ${seqno} does not match its checksum`)
      return
    }
    const record = this.#record.at(value, 0)
    const { isDeletion, expiry } = record
    const bytes = record.key()
    const { tombstones, expiries } = this.#environment
    const found = this.#entryOf(vbid, bytes)
    if (found === undefined) this.#problem(vbid, `record ${seqno} has no document`)
    else if (found.seqno !== seqno) {
      this.#problem(vbid, `record ${seqno} is not the newest, ${found.seqno} is`)
    } else if (found.block !== block) {
      this.#problem(vbid, `record ${seqno} is in block ${block}, not ${found.block}`)
    }
    if (isDeletion) {
      count.tombstones++
      const tombstone = tombstones.getBinary(place)
      if (!tombstone || blockOfTombstone(tombstone, seqno) !== block) {
        this.#problem(vbid, `deletion ${seqno} has no tombstone`)
      }
      return
    }
    const collection = collectionOf(value, record.keyStart)
    const { items, bytes: held } = count.held.get(collection) ?? nothingHeld
    const ownBytes = record.keyLength + record.valueLength
    count.held.set(collection, { items: items + 1, bytes: held + ownBytes })
    if (expiry === 0) return
    count.expiring++
    const due: ExpiryKey = { expiry, vbid, seqno }
    if (!expiries.getBinary(due)) this.#problem(vbid, `record ${seqno} will not expire`)
  }

  #entryOf(vbid: number, key: Buffer): DocumentEntry | undefined {
    try {
      return this.#index.find(vbid, key, 0, key.length)
    } catch {
      return undefined
    }
  }

  #checkVbucket(vbid: number, record: VbucketRecord): void {
    const count = this.#countOf(vbid)
    const { tombstones, highSeqno, purgeSeqno, failoverLog } = record
    this.#checkHeld(vbid, defaultCollection, record)
    this.#checkCollections(vbid)
    this.#equal(vbid, 'tombstones', tombstones, count.tombstones)
    this.#equal(vbid, 'high seqno', highSeqno, count.lastSeqno)
    if (purgeSeqno > highSeqno) this.#problem(vbid, `purge seqno ${purgeSeqno} > ${highSeqno}`)
    let limit = highSeqno
    for (const { seqno } of failoverLog) {
      if (seqno > limit) this.#problem(vbid, `a history begins at ${seqno}, behind ${limit}`)
      limit = seqno
    }
    if (failoverLog.length === 0) this.#problem(vbid, 'it has no history')
  }

  #checkCollections(vbid: number): void {
    const { collections } = this.#environment
    const known = new Set([defaultCollection, systemCollection])
    for (const { key, value } of collections.getRange(collectionsOf(vbid))) {
      const { subject, id } = key
      if (subject === 'scope') continue
      known.add(id)
      if (id !== defaultCollection) this.#checkHeld(vbid, id, decodeCollectionRecord(value))
    }
    for (const id of this.#countOf(vbid).held.keys()) {
      if (!known.has(id)) this.#problem(vbid, `it has records of collection ${id}, which is not`)
    }
  }

  #checkHeld(vbid: number, id: number, { items, bytes }: Held): void {
    const expected = this.#heldBy(vbid, id)
    this.#equal(vbid, `items of collection ${id}`, items, expected.items)
    this.#equal(vbid, `bytes of collection ${id}`, bytes, expected.bytes)
  }

  /** Nothing by a collection that has been dropped: what is left of it is being removed. */
  #heldBy(vbid: number, id: number): Held {
    const stored = this.#environment.collections.getBinary({ vbid, subject: 'collection', id })
    if (stored && decodeCollectionRecord(stored).droppedSeqno !== undefined) return nothingHeld
    return this.#countOf(vbid).held.get(id) ?? nothingHeld
  }

  /** Whether a table has as many entries of each vbucket as its records ask for. */
  #compare(what: string, keys: Iterable<{ vbid: number }>, expected: (of: Count) => number): void {
    const found = new Map<number, number>()
    for (const { vbid } of keys) found.set(vbid, (found.get(vbid) ?? 0) + 1)
    for (const vbid of found.keys()) this.#countOf(vbid)
    for (const [vbid, count] of this.#counts) {
      this.#equal(vbid, what, found.get(vbid) ?? 0, expected(count))
    }
  }

  #countOf(vbid: number): Count {
    let count = this.#counts.get(vbid)
    if (count === undefined) {
      count = { ...nothingCounted, held: new Map() }
      this.#counts.set(vbid, count)
    }
    return count
  }

  #equal(vbid: number, what: string, found: number, expected: number): void {
    if (found !== expected) this.#problem(vbid, `${what}: ${found}, should be ${expected}`)
  }

  #problem(vbid: number, text: string): void {
    if (this.#problems.length < this.#problemsMax) this.#problems.push(`vbucket ${vbid}: ${text}`)
  }
}
