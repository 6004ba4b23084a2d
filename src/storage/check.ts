/**
 * Reads all of an environment and says whether its tables tell the same story. Slow: for a start
 * that has reason to doubt its files, and for tests.
 */
import { documentEntryLength, DocumentEntry } from './document-entry.ts'
import { isBlockIntact } from './block.ts'
import { BlockScan, type ScannedBlock } from './block-scan.ts'
import type { Environment } from './environment.ts'
import type { DocumentKey, ExpiryKey } from './keys.ts'
import { isIntact, RecordView } from './record.ts'
import { blockOfTombstone } from './tombstone-entry.ts'
import { decodeVbucketRecord, type VbucketRecord } from './vbucket-record.ts'

/** What was counted of one vbucket. */
interface Count {
  records: number
  items: number
  tombstones: number
  expiring: number
  superseded: number
  lastSeqno: number
}

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
  readonly #entry = new DocumentEntry()

  constructor(environment: Environment, problemsMax: number) {
    this.#environment = environment
    this.#problemsMax = problemsMax
  }

  run(): string[] {
    const { documents, superseded, tombstones, expiries, vbuckets } = this.#environment
    const start = { vbid: 0, seqno: 0 }
    this.#checkBlocks()
    this.#compare('superseded entries', superseded.getKeys({ start }), of => of.superseded)
    const firstKey: DocumentKey = { vbid: 0, bytes: Buffer.alloc(0), start: 0, length: 0 }
    this.#compare('documents', documents.getKeys({ start: firstKey }), of => of.records)
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
    if (shown.superseded) this.#countOf(vbid).superseded++
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
    return before
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
    const key = { vbid, bytes, start: 0, length: bytes.length }
    const { documents, tombstones, expiries } = this.#environment
    const found = documents.getBinary(key)
    if (found?.length !== documentEntryLength) {
      this.#problem(vbid, `record ${seqno} has no document`)
    } else if (this.#entry.at(found).seqno !== seqno) {
      this.#problem(vbid, `record ${seqno} is not the newest, ${this.#entry.seqno} is`)
    } else if (this.#entry.block !== block) {
      this.#problem(vbid, `record ${seqno} is in block ${block}, not ${this.#entry.block}`)
    }
    if (isDeletion) {
      count.tombstones++
      const tombstone = tombstones.getBinary(place)
      if (!tombstone || blockOfTombstone(tombstone, seqno) !== block) {
        this.#problem(vbid, `deletion ${seqno} has no tombstone`)
      }
      return
    }
    count.items++
    if (expiry === 0) return
    count.expiring++
    const due: ExpiryKey = { expiry, vbid, seqno }
    if (!expiries.getBinary(due)) this.#problem(vbid, `record ${seqno} will not expire`)
  }

  #checkVbucket(vbid: number, record: VbucketRecord): void {
    const count = this.#countOf(vbid)
    const { items, tombstones, highSeqno, purgeSeqno, failoverLog } = record
    this.#equal(vbid, 'items', items, count.items)
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
      count = { records: 0, items: 0, tombstones: 0, expiring: 0, superseded: 0, lastSeqno: 0 }
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
