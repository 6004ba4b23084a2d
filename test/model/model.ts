import { strict as assert } from 'node:assert'
import { RecordKind, type RecordView } from '../../src/storage/record.ts'

/** One change as a client could know it. */
export interface Change {
  seqno: number
  key: string
  kind: RecordKind
  value: string
  revno: number
  cas: string
  flags: number
  datatype: number
  /** Expiry of a mutation, delete time of a tombstone. */
  time: number
}

/** What a vbucket has been told, and what it must be by that. */
export class ModelVbucket {
  /** By seqno, gapless from 1. */
  changes: Change[] = []
  /** The newest change of each key, but for tombstones that are purged. */
  readonly current = new Map<string, Change>()
  purgeSeqno = 0
  /** Reported to be on disk. */
  persisted = 0

  get highSeqno(): number {
    return this.changes.length
  }

  get maxCas(): bigint {
    return this.changes.reduce((max, { cas }) => (BigInt(cas) > max ? BigInt(cas) : max), 0n)
  }

  add(change: Change): void {
    assert.equal(change.seqno, this.highSeqno + 1)
    this.changes.push(change)
    this.current.set(change.key, change)
  }

  /** Removes every tombstone up to `last`. */
  purge(last: number): void {
    for (const { key, seqno, kind } of this.current.values()) {
      if (kind === RecordKind.mutation || seqno > last) continue
      this.current.delete(key)
      this.purgeSeqno = Math.max(this.purgeSeqno, seqno)
    }
  }

  /** Forgets what a crash took: everything behind `highSeqno`. */
  cut(highSeqno: number): void {
    assert.ok(highSeqno >= this.persisted, `${this.persisted} was on disk, ${highSeqno} is`)
    assert.ok(highSeqno <= this.highSeqno)
    this.changes = this.changes.slice(0, highSeqno)
    this.current.clear()
    for (const change of this.changes) this.current.set(change.key, change)
    for (const { key, seqno, kind } of this.current.values()) {
      if (kind !== RecordKind.mutation && seqno <= this.purgeSeqno) this.current.delete(key)
    }
  }

  /** What a snapshot with this high and purge seqno holds, in the order of a backfill. */
  at(highSeqno: number, purgeSeqno: number): Change[] {
    const newest = new Map<string, Change>()
    for (const change of this.changes.slice(0, highSeqno)) newest.set(change.key, change)
    return [...newest.values()]
      .filter(({ kind, seqno }) => kind === RecordKind.mutation || seqno > purgeSeqno)
      .sort((a, b) => a.seqno - b.seqno)
  }

  live(key: string, nowSeconds: number): Change | undefined {
    const change = this.current.get(key)
    if (change === undefined || change.kind !== RecordKind.mutation) return undefined
    return change.time !== 0 && change.time <= nowSeconds ? undefined : change
  }

  get items(): number {
    return this.#documents().length
  }

  /** Of keys, with the id of the collection in front, and values. */
  get bytes(): number {
    return this.#documents().reduce((sum, { key, value }) => sum + 1 + key.length + value.length, 0)
  }

  #documents(): Change[] {
    return [...this.current.values()].filter(({ kind }) => kind === RecordKind.mutation)
  }
}

/** A record as a change. */
export function changeIn(record: RecordView): Change {
  const { seqno, kind, revno, flags, datatype, isDeletion, deleteTime, expiry } = record
  return {
    seqno,
    key: record.key().toString('utf8', 1),
    kind,
    value: record.value().toString(),
    revno,
    cas: `${record.cas}`,
    flags,
    datatype,
    time: isDeletion ? deleteTime : expiry,
  }
}
