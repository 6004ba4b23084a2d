/**
 * Key-value semantics: what each command does to a document. Synchronous, on the one thread that
 * writes; knows no frames. Expected outcomes are statuses.
 *
 * Keys and values come as (bytes, start, length), so that no views are made on the way in.
 */
import type { Clock } from '../clock.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Status } from '../../protocol/status.ts'
import { systemXattrs } from '../../protocol/xattrs.ts'
import { copyShared } from '../storage/copy-shared.ts'
import { PlainValue } from '../storage/plain-value.ts'
import { RecordKind, type RecordView } from '../storage/record.ts'
import type { DocumentFinder } from './document-finder.ts'
import type { Change, DocumentWriter, WriteResult } from './document-writer.ts'
import { absoluteExpiry, isExpired, limitedExpiry } from './expiry.ts'
import { DocumentLocks } from './locks.ts'
import type { StoreRequest } from './store-request.ts'
import type { StoredForm } from './stored-form.ts'
import type { Vbucket } from './vbucket.ts'

/** What documents have to know of the collections that they are in. */
export interface DocumentCollections {
  has(key: Uint8Array, keyStart: number): boolean
  /** 0: no limit. */
  maxTtlSeconds(key: Uint8Array, keyStart: number): number
}

export interface DocumentsOptions {
  finder: DocumentFinder
  writer: DocumentWriter
  clock: Clock
  form: StoredForm
  valueBytesMax: number
  collections: DocumentCollections
  /** Success, or why no write can be taken now. */
  admit: (vbucket: Vbucket) => Status
}

const noXattrs = Buffer.alloc(0)

export class Documents {
  readonly locks = new DocumentLocks()
  readonly #finder: DocumentFinder
  readonly #writer: DocumentWriter
  readonly #options: DocumentsOptions
  readonly #form: StoredForm
  readonly #plain = new PlainValue()

  constructor(options: DocumentsOptions) {
    this.#options = options
    this.#form = options.form
    this.#finder = options.finder
    this.#writer = options.writer
  }

  /** Whether a datatype can be relied on for whether a body is JSON. */
  get detectsJson(): boolean {
    return this.#form.detectsJson
  }

  /** CAS and seqno of the last successful write. */
  get result(): WriteResult {
    return this.#writer.result
  }

  /** The live document, or undefined. The view is valid until the next call. */
  get(vbucket: Vbucket, key: Buffer, start: number, length: number): RecordView | undefined {
    const record = this.#finder.newest(vbucket, key, start, length)
    if (record === undefined || record.isDeletion) return undefined
    if (record.expiry === 0 || !isExpired(record.expiry, this.#nowSeconds())) return record
    this.#expireOnAccess(vbucket, key, start, length)
    return undefined
  }

  /** The newest version, tombstones included, with its metadata. */
  getMeta(vbucket: Vbucket, key: Buffer, start: number, length: number): RecordView | undefined {
    return this.#finder.newest(vbucket, key, start, length)
  }

  /** Stores the request's value; extended attributes that the document has stay in front of it. */
  store(vbucket: Vbucket, request: StoreRequest): Status {
    const { key, keyStart, keyLength, mode } = request
    const form = this.#form
    const formed = form.take(
      request.value,
      request.valueStart,
      request.valueLength,
      request.datatype,
    )
    if (formed !== Status.success) return formed
    const admitted = this.#options.admit(vbucket)
    if (admitted !== Status.success) return admitted
    const lives = this.#findLive(vbucket, key, keyStart, keyLength)
    if (mode === 'add' && lives) return Status.keyExists
    if (mode === 'replace' && !lives) return Status.keyNotFound
    const refusal = this.#checkCas(vbucket, request, lives)
    if (refusal !== Status.success) return refusal
    const xattrs = lives ? this.#xattrs(vbucket, key, keyStart, keyLength) : noXattrs
    if (xattrs.length > 0) form.takeBehind(xattrs, request)
    const room = this.#writer.admitSize(keyLength, form.length)
    if (room !== Status.success) return room
    const { change } = this.#writer
    change.kind = RecordKind.mutation
    change.datatype = form.datatype
    change.flags = request.flags
    change.time =
      request.preserveExpiry && lives
        ? this.#finder.current.expiry
        : this.#expiryOf(key, keyStart, request.expiry)
    const record = this.#writer.begin(vbucket, key, keyStart, keyLength, form.length)
    copyShared(form.bytes, form.start, form.start + form.length, record.bytes, record.valueStart)
    this.#finish(vbucket, key, keyStart, keyLength)
    return Status.success
  }

  /** Puts the request's value behind (or before) the document's own; keeps flags and expiry. */
  concatenate(vbucket: Vbucket, request: StoreRequest, where: 'append' | 'prepend'): Status {
    const { key, keyStart, keyLength } = request
    const form = this.#form
    const formed = form.takePlain(
      request.value,
      request.valueStart,
      request.valueLength,
      request.datatype,
    )
    if (formed !== Status.success) return formed
    const admitted = this.#options.admit(vbucket)
    if (admitted !== Status.success) return admitted
    if (!this.#findLive(vbucket, key, keyStart, keyLength)) {
      return request.casHigh === 0 && request.casLow === 0 ? Status.notStored : Status.keyNotFound
    }
    const refusal = this.#checkCas(vbucket, request, true)
    if (refusal !== Status.success) return refusal
    const old = this.#plain.of(this.#finder.record(vbucket, key, keyStart, keyLength))
    const total = old.length + form.length
    if (total > this.#options.valueBytesMax) return Status.tooLarge
    const room = this.#writer.admitSize(keyLength, total)
    if (room !== Status.success) return room
    // Attributes stay in front, and what was JSON need not be it any more.
    const splitAt = where === 'append' ? old.end : old.bodyStart
    this.#keepMeta(RecordKind.mutation).datatype &= Datatype.xattr
    const record = this.#writer.begin(vbucket, key, keyStart, keyLength, total)
    const { bytes, valueStart } = record
    copyShared(old.bytes, old.start, splitAt, bytes, valueStart)
    const addedAt = valueStart + splitAt - old.start
    copyShared(form.bytes, form.start, form.start + form.length, bytes, addedAt)
    copyShared(old.bytes, splitAt, old.end, bytes, addedAt + form.length)
    record.markDatatype(form.withJson(bytes, valueStart, total, record.datatype))
    this.#finish(vbucket, key, keyStart, keyLength)
    return Status.success
  }

  remove(vbucket: Vbucket, request: StoreRequest): Status {
    const { key, keyStart, keyLength } = request
    const admitted = this.#options.admit(vbucket)
    if (admitted !== Status.success) return admitted
    const lives = this.#findLive(vbucket, key, keyStart, keyLength)
    if (!lives) return Status.keyNotFound
    const refusal = this.#checkCas(vbucket, request, true)
    if (refusal !== Status.success) return refusal
    this.#entomb(vbucket, RecordKind.deletion, key, keyStart, keyLength)
    return Status.success
  }

  /** Gives the document a new expiry; nothing is written when it already has it. */
  touch(
    vbucket: Vbucket,
    key: Buffer,
    start: number,
    length: number,
    expiry: number,
  ): RecordView | Status {
    const admitted = this.#options.admit(vbucket)
    if (admitted !== Status.success) return admitted
    if (!this.#findLive(vbucket, key, start, length)) return Status.keyNotFound
    if (this.#lockOn(vbucket, key, start, length)) return Status.locked
    const old = this.#finder.record(vbucket, key, start, length)
    const absolute = this.#expiryOf(key, start, expiry)
    const { result } = this.#writer
    if (absolute === old.expiry) {
      result.casHigh = old.casHigh
      result.casLow = old.casLow
      result.seqno = old.seqno
      return old
    }
    const { bytes, valueStart, end } = old
    this.#keepMeta(RecordKind.mutation)
    this.#writer.change.time = absolute
    const record = this.#writer.begin(vbucket, key, start, length, end - valueStart)
    copyShared(bytes, valueStart, end, record.bytes, record.valueStart)
    this.#writer.finish(vbucket)
    return record
  }

  /**
   * Locks the document for its caller: until the lock ends only the CAS given here changes it.
   * Returns the document; the CAS to show is in `result`.
   */
  lock(
    vbucket: Vbucket,
    key: Buffer,
    start: number,
    length: number,
    seconds: number,
  ): RecordView | Status {
    const admitted = this.#options.admit(vbucket)
    if (admitted !== Status.success) return admitted
    const record = this.get(vbucket, key, start, length)
    if (record === undefined) return Status.keyNotFound
    if (this.#lockOn(vbucket, key, start, length)) return Status.locked
    const { casClock } = vbucket
    const nowMs = this.#options.clock.nowMs()
    casClock.tick(nowMs)
    const { high: casHigh, low: casLow } = casClock
    const untilMs = nowMs + seconds * 1000
    this.locks.lock(vbucket.id, key, start, length, { casHigh, casLow, untilMs })
    const { result } = this.#writer
    result.casHigh = casHigh
    result.casLow = casLow
    result.seqno = record.seqno
    return record
  }

  /** Ends a lock; `casHigh` and `casLow` are the CAS that `lock` gave. */
  unlock(vbucket: Vbucket, request: StoreRequest): Status {
    const { key, keyStart, keyLength } = request
    if (this.get(vbucket, key, keyStart, keyLength) === undefined) return Status.keyNotFound
    const lock = this.#lockOn(vbucket, key, keyStart, keyLength)
    if (lock === undefined) return Status.notLocked
    if (lock.casHigh !== request.casHigh || lock.casLow !== request.casLow) return Status.locked
    this.locks.unlock(vbucket.id, key, keyStart, keyLength)
    return Status.success
  }

  /** Whether someone holds a lock on the document: its CAS is then not shown. */
  isLocked(vbucket: Vbucket, key: Buffer, start: number, length: number): boolean {
    return this.#lockOn(vbucket, key, start, length) !== undefined
  }

  /** Expires the document that has this seqno, unless it has changed since. For the pager. */
  expire(vbucket: Vbucket, key: Buffer, start: number, length: number, seqno: number): boolean {
    if (this.#options.admit(vbucket) !== Status.success) return false
    // What a dropped collection held is removed without a trace.
    if (!this.#options.collections.has(key, start)) return false
    if (!this.#finder.find(vbucket, key, start, length)) return false
    const { current } = this.#finder
    if (current.isDeletion || current.seqno !== seqno) return false
    if (!isExpired(current.expiry, this.#nowSeconds())) return false
    this.#entomb(vbucket, RecordKind.expiration, key, start, length)
    return true
  }

  #nowSeconds(): number {
    return Math.floor(this.#options.clock.nowMs() / 1000)
  }

  /** What a client asked for, in absolute seconds, as far as its collection allows. */
  #expiryOf(key: Buffer, start: number, asked: number): number {
    const maxTtlSeconds = this.#options.collections.maxTtlSeconds(key, start)
    // Most documents never expire: then the clock is not asked.
    if (asked === 0 && maxTtlSeconds === 0) return 0
    const nowSeconds = this.#nowSeconds()
    return limitedExpiry(absoluteExpiry(asked, nowSeconds), nowSeconds, maxTtlSeconds)
  }

  /** Fills `current` and `change` for the key; true when a live document is there. */
  #findLive(vbucket: Vbucket, key: Buffer, start: number, length: number): boolean {
    const { change } = this.#writer
    const found = this.#finder.find(vbucket, key, start, length)
    const { current } = this.#finder
    // A purged tombstone of the key had at most its seqno for a revision: a new life goes on behind
    // it, so that replication elsewhere does not take an older copy for the newer one.
    change.revno = (found ? current.revno : vbucket.purgeSeqno) + 1
    change.replace(found, current)
    if (!change.replacesLive) return false
    return current.expiry === 0 || !isExpired(current.expiry, this.#nowSeconds())
  }

  #checkCas(vbucket: Vbucket, request: StoreRequest, lives: boolean): Status {
    const { key, keyStart, keyLength, casHigh, casLow } = request
    const lock = this.#lockOn(vbucket, key, keyStart, keyLength)
    if (lock) {
      return lock.casHigh === casHigh && lock.casLow === casLow ? Status.success : Status.locked
    }
    if (casHigh === 0 && casLow === 0) return Status.success
    if (!lives) return Status.keyNotFound
    const { current } = this.#finder
    return current.casHigh === casHigh && current.casLow === casLow
      ? Status.success
      : Status.keyExists
  }

  #lockOn(vbucket: Vbucket, key: Buffer, start: number, length: number) {
    if (this.locks.isEmpty) return undefined
    return this.locks.find(vbucket.id, key, start, length, this.#options.clock.nowMs())
  }

  /** The attributes in front of the value of what was found for this key. */
  #xattrs(vbucket: Vbucket, key: Buffer, start: number, length: number): Uint8Array {
    if ((this.#finder.current.datatype & Datatype.xattr) === 0) return noXattrs
    const {
      bytes,
      start: first,
      bodyStart,
    } = this.#plain.of(this.#finder.record(vbucket, key, start, length))
    return bytes.subarray(first, bodyStart)
  }

  /** The change keeps what the document has. */
  #keepMeta(kind: RecordKind): Change {
    const { change } = this.#writer
    const { current } = this.#finder
    change.kind = kind
    change.datatype = current.datatype
    change.flags = current.flags
    change.time = current.expiry
    return change
  }

  /** Of what the document has, the system's attributes stay on its tombstone. */
  #entomb(vbucket: Vbucket, kind: RecordKind, key: Buffer, start: number, length: number): void {
    const { change } = this.#writer
    const { current } = this.#finder
    const xattrs = this.#xattrs(vbucket, key, start, length)
    const kept = xattrs.length > 0 ? systemXattrs(Buffer.from(xattrs)) : noXattrs
    change.kind = kind
    change.datatype = kept.length > 0 ? Datatype.xattr : 0
    change.flags = 0
    change.time = this.#nowSeconds()
    change.revno = current.revno + 1
    change.replace(true, current)
    const record = this.#writer.begin(vbucket, key, start, length, kept.length)
    copyShared(kept, 0, kept.length, record.bytes, record.valueStart)
    this.#finish(vbucket, key, start, length)
  }

  #expireOnAccess(vbucket: Vbucket, key: Buffer, start: number, length: number): void {
    if (this.#finder.find(vbucket, key, start, length)) {
      this.expire(vbucket, key, start, length, this.#finder.current.seqno)
    }
  }

  #finish(vbucket: Vbucket, key: Buffer, start: number, length: number): void {
    this.locks.unlock(vbucket.id, key, start, length)
    this.#writer.finish(vbucket)
  }
}
