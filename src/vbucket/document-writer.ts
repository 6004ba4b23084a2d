/**
 * Makes changes: gives them their seqno and CAS, appends them to the change log, keeps the
 * vbucket's counts, and tells who watches. Every change of a document goes through here.
 */
import type { Clock } from '../clock.ts'
import { RecordKind, type RecordHead, type RecordView } from '../storage/record.ts'
import type { Status } from '../../protocol/status.ts'
import type { ChangeLog } from './change-log.ts'
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
}

export class DocumentWriter {
  readonly result = new WriteResult()
  readonly change = new Change()
  readonly #changes: ChangeLog
  readonly #clock: Clock
  readonly #onAppend: () => void
  readonly #quota: Quota
  /** Of the record that was begun. */
  #keyLength = 0
  #valueLength = 0
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

  constructor(changes: ChangeLog, clock: Clock, quota: Quota, onAppend: () => void) {
    this.#changes = changes
    this.#quota = quota
    this.#clock = clock
    this.#onAppend = onAppend
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
    this.#keyLength = record.keyLength
    this.#valueLength = valueLength
    vbucket.highSeqno++
    return record
  }

  /** Whether the quota lets a document of this size take the place of what `change` replaces. */
  admitSize(keyLength: number, valueLength: number): Status {
    const { replacesLive, replacedValueLength } = this.change
    const replacedBytes = replacesLive ? keyLength + replacedValueLength : 0
    return this.#quota.admit(keyLength + valueLength, replacedBytes)
  }

  /** The record is whole: count it, and let everybody see it. */
  finish(vbucket: Vbucket): void {
    const { change } = this
    let growth = 0
    if (change.replacesLive) {
      vbucket.itemCount--
      growth -= this.#keyLength + change.replacedValueLength
    }
    if (change.replacedTombstone > 0) vbucket.tombstoneReplaced(change.replacedTombstone)
    if (change.kind === RecordKind.mutation) {
      vbucket.itemCount++
      growth += this.#keyLength + this.#valueLength
    } else vbucket.tombstoneCount++
    vbucket.documentBytes += growth
    this.#quota.usedBytes += growth
    vbucket.notify()
    this.#onAppend()
  }
}
