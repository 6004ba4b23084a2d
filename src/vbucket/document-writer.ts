/**
 * Makes changes: gives them their seqno and CAS, appends them to the change log, keeps the
 * vbucket's counts, and tells who watches. Every change of a document goes through here.
 */
import type { Status } from '../../protocol/status.ts'
import type { Clock } from '../clock.ts'
import { setShared } from '../storage/copy-shared.ts'
import { defaultCollection, systemCollection } from '../storage/record-key.ts'
import { RecordKind, type RecordHead, type RecordView } from '../storage/record.ts'
import type { ChangeLog } from './change-log.ts'
import type { CollectionFigures } from './collections/vbucket-collections.ts'
import type { Current } from './document-finder.ts'
import type { Quota } from './quota.ts'
import type { Vbucket } from './vbucket.ts'

/** What the last change was given; one object, overwritten by the next. */
export class WriteResult {
  casHigh = 0
  casLow = 0
  seqno = 0

  get cas(): bigint {
    return (BigInt(this.casHigh) << 32n) | BigInt(this.casLow)
  }
}

/** What a change is to be; filled before `begin`, since the path of writes makes no objects. */
export class Change {
  kind: RecordKind = RecordKind.mutation
  datatype = 0
  flags = 0
  /** Expiry of a mutation, delete time of a tombstone. */
  time = 0
  revno = 1
  /** There is a live version now that this change replaces or ends. */
  replacesLive = false
  /** The length of its value. */
  replacedValueLength = 0
  /** Seqno of the tombstone there is now that this change replaces; 0: there is none. */
  replacedTombstone = 0

  /** The change takes the place of what the key has now: `current`, if it was `found`. */
  replace(found: boolean, current: Current): void {
    this.replacesLive = found && !current.isDeletion
    this.replacedValueLength = current.valueLength
    this.replacedTombstone = found && current.isDeletion ? current.seqno : 0
  }
}

/** See storage/system-event-record.ts. */
export interface EventRecord {
  kind: RecordKind
  key: Uint8Array
  value: Uint8Array
  nowSeconds: number
}

export interface DocumentWriterOptions {
  changes: ChangeLog
  clock: Clock
  quota: Quota
  /** After each change. */
  onAppend: () => void
}

export class DocumentWriter {
  readonly result = new WriteResult()
  readonly change = new Change()
  readonly #changes: ChangeLog
  readonly #clock: Clock
  readonly #quota: Quota
  readonly #onAppend: () => void
  /** Of the record that was begun. */
  #keyLength = 0
  #valueLength = 0
  /** Of the collection that the change is in, unless that is the default one. */
  #figures: CollectionFigures | undefined
  readonly #head: RecordHead = {
    kind: RecordKind.mutation,
    vbid: 0,
    datatype: 0,
    casHigh: 0,
    casLow: 0,
    seqno: 0,
    revno: 0,
    flags: 0,
    time: 0,
  }

  constructor({ changes, clock, quota, onAppend }: DocumentWriterOptions) {
    this.#changes = changes
    this.#clock = clock
    this.#quota = quota
    this.#onAppend = onAppend
  }

  /**
   * Whether the quota lets a document of this size take the place of what `change` replaces: ask
   * before `begin` when the change is a mutation.
   */
  admitSize(keyLength: number, valueLength: number): Status {
    const { replacesLive, replacedValueLength } = this.change
    const replacedBytes = replacesLive ? keyLength + replacedValueLength : 0
    return this.#quota.admit(keyLength + valueLength, replacedBytes)
  }

  /** Documents have gone without a change of their own. */
  release(bytes: number): void {
    this.#quota.usedBytes -= bytes
  }

  /**
   * Appends `change` with a CAS of its own, all but its value, which the caller writes into the
   * returned record before it calls `finish`.
   */
  begin(
    vbucket: Vbucket,
    key: Uint8Array,
    start: number,
    length: number,
    valueLength: number,
  ): RecordView {
    const { casClock } = vbucket
    casClock.tick(this.#clock.nowMs())
    return this.beginWithCas(vbucket, key, start, length, valueLength, casClock.high, casClock.low)
  }

  /** The same with a CAS that was made elsewhere. */
  beginWithCas(
    vbucket: Vbucket,
    key: Uint8Array,
    start: number,
    length: number,
    valueLength: number,
    casHigh: number,
    casLow: number,
  ): RecordView {
    const { change, result } = this
    const head = this.#head
    head.kind = change.kind
    head.vbid = vbucket.id
    head.datatype = change.datatype
    head.casHigh = result.casHigh = casHigh
    head.casLow = result.casLow = casLow
    head.seqno = result.seqno = vbucket.highSeqno + 1
    head.revno = change.revno
    head.flags = change.flags
    head.time = change.time
    const record = this.#changes.append(head, key, start, length, valueLength)
    this.#keyLength = length
    this.#valueLength = valueLength
    vbucket.highSeqno++
    const { collections } = vbucket
    this.#figures = undefined
    if (key[start] === defaultCollection) collections.defaultSeqno = vbucket.highSeqno
    else if (key[start] !== systemCollection) {
      this.#figures = collections.figuresOf(key, start)
      this.#figures.highSeqno = vbucket.highSeqno
    }
    return record
  }

  /** The record is whole: count it, and let everybody see it. */
  finish(vbucket: Vbucket): void {
    const { change } = this
    let items = 0
    let bytes = 0
    if (change.replacesLive) {
      items--
      bytes -= this.#keyLength + change.replacedValueLength
    }
    if (change.replacedTombstone > 0) vbucket.tombstoneReplaced(change.replacedTombstone)
    if (change.kind === RecordKind.mutation) {
      items++
      bytes += this.#keyLength + this.#valueLength
    } else vbucket.tombstoneCount++
    vbucket.itemCount += items
    vbucket.documentBytes += bytes
    this.#quota.usedBytes += bytes
    if (this.#figures !== undefined) {
      this.#figures.items += items
      this.#figures.bytes += bytes
    }
    vbucket.notify()
    this.#onAppend()
  }

  /** Appends a system event, which is a change, but no document. */
  appendEvent(vbucket: Vbucket, { kind, key, value, nowSeconds }: EventRecord): void {
    const { change } = this
    const isTombstone = kind !== RecordKind.mutation
    change.kind = kind
    change.datatype = 0
    change.flags = 0
    change.time = isTombstone ? nowSeconds : 0
    change.revno = isTombstone ? 2 : 1
    const record = this.begin(vbucket, key, 0, key.length, value.length)
    setShared(value, record.bytes, record.valueStart)
    if (isTombstone) vbucket.tombstoneCount++
    vbucket.notify()
    this.#onAppend()
  }
}
