/**
 * Writes that bring their metadata along, as replication between clusters, restores and
 * migrations do: CAS, revision number and times were given elsewhere and are kept.
 */
import type { Clock } from '../clock.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Status } from '../../protocol/status.ts'
import { copyShared } from '../storage/copy-shared.ts'
import { xattrBytes } from '../storage/plain-value.ts'
import { RecordKind } from '../storage/record.ts'
import { casMax } from './cas-clock.ts'
import { wins } from './conflict.ts'
import type { DocumentFinder } from './document-finder.ts'
import type { DocumentCollections } from './documents.ts'
import type { DocumentWriter } from './document-writer.ts'
import { isExpired, limitedExpiry } from './expiry.ts'
import type { DocumentLocks } from './locks.ts'
import type { StoredForm } from './stored-form.ts'
import type { Vbucket } from './vbucket.ts'

export interface MetaRequest {
  kind: RecordKind
  key: Buffer
  keyStart: number
  keyLength: number
  value: Buffer
  valueStart: number
  valueLength: number
  datatype: number
  flags: number
  /** Absolute expiry, or for a deletion its delete time (0: now). */
  time: number
  revno: number
  cas: bigint
  /** The CAS that the present version must have; 0: any. */
  expectedCas: bigint
  /** Refuse when a live document is there. */
  isAdd: boolean
  /** Store it whichever version wins. */
  skipConflictResolution: boolean
  /** Give it a CAS of ours instead. */
  regenerateCas: boolean
}

export class MetaWriter {
  readonly #finder: DocumentFinder
  readonly #writer: DocumentWriter
  readonly #locks: DocumentLocks
  readonly #clock: Clock
  readonly #form: StoredForm
  readonly #collections: DocumentCollections
  readonly #admit: (vbucket: Vbucket) => Status

  constructor(options: {
    finder: DocumentFinder
    writer: DocumentWriter
    locks: DocumentLocks
    clock: Clock
    form: StoredForm
    collections: DocumentCollections
    admit: (vbucket: Vbucket) => Status
  }) {
    this.#finder = options.finder
    this.#writer = options.writer
    this.#locks = options.locks
    this.#clock = options.clock
    this.#collections = options.collections
    this.#admit = options.admit
    this.#form = options.form
  }

  /** keyExists when the version that is there wins, casInvalid for a CAS that no write can have. */
  write(vbucket: Vbucket, request: MetaRequest): Status {
    const { key, keyStart, keyLength } = request
    const formed = this.#take(request)
    if (formed !== Status.success) return formed
    const admitted = this.#admit(vbucket)
    if (admitted !== Status.success) return admitted
    const { cas, regenerateCas } = request
    if (!regenerateCas && (cas === 0n || cas > casMax)) return Status.casInvalid
    const refusal = this.#check(vbucket, request)
    if (refusal !== Status.success) return refusal
    const isMutation = request.kind === RecordKind.mutation
    if (isMutation) {
      const room = this.#writer.admitSize(keyLength, this.#form.length)
      if (room !== Status.success) return room
    }
    const nowSeconds = Math.floor(this.#clock.nowMs() / 1000)
    const { change } = this.#writer
    change.kind = request.kind
    const form = this.#form
    change.datatype = form.datatype
    change.flags = request.flags
    const maxTtlSeconds = this.#collections.maxTtlSeconds(key, keyStart)
    change.time = isMutation
      ? limitedExpiry(request.time, nowSeconds, maxTtlSeconds)
      : request.time || nowSeconds
    change.revno = request.revno
    const record = this.#begin(vbucket, request)
    copyShared(form.bytes, form.start, form.start + form.length, record.bytes, record.valueStart)
    this.#locks.unlock(vbucket.id, key, keyStart, keyLength)
    this.#writer.finish(vbucket)
    return Status.success
  }

  /** A tombstone keeps its attributes and nothing else, whatever a deletion brings. */
  #take({ kind, value, valueStart, valueLength, datatype }: MetaRequest): Status {
    const form = this.#form
    if (kind === RecordKind.mutation) return form.take(value, valueStart, valueLength, datatype)
    const status = form.takePlain(value, valueStart, valueLength, datatype)
    if (status !== Status.success) return status
    form.length = xattrBytes(form.bytes, form.start, form.length, form.datatype)
    form.datatype = form.length > 0 ? Datatype.xattr : Datatype.raw
    return Status.success
  }

  #begin(vbucket: Vbucket, request: MetaRequest) {
    const { key, keyStart, keyLength, cas } = request
    const valueLength = this.#form.length
    if (request.regenerateCas) {
      return this.#writer.begin(vbucket, key, keyStart, keyLength, valueLength)
    }
    vbucket.casClock.observe(cas)
    const [high, low] = halves(cas)
    return this.#writer.beginWithCas(vbucket, key, keyStart, keyLength, valueLength, high, low)
  }

  #check(vbucket: Vbucket, request: MetaRequest): Status {
    const { key, keyStart, keyLength, expectedCas } = request
    const { current } = this.#finder
    const { change } = this.#writer
    const nowMs = this.#clock.nowMs()
    const found = this.#finder.find(vbucket, key, keyStart, keyLength)
    change.replace(found, current)
    const lives = change.replacesLive && !isExpired(current.expiry, Math.floor(nowMs / 1000))
    const [expectedHigh, expectedLow] = halves(expectedCas)
    const lock = this.#locks.find(vbucket.id, key, keyStart, keyLength, nowMs)
    if (lock) {
      if (lock.casHigh !== expectedHigh || lock.casLow !== expectedLow) return Status.locked
    } else if (expectedCas !== 0n) {
      if (!found) return Status.keyNotFound
      if (current.casHigh !== expectedHigh || current.casLow !== expectedLow) {
        return Status.keyExists
      }
    }
    if (request.isAdd && lives) return Status.keyExists
    if (!found || request.skipConflictResolution) return Status.success
    const [casHigh, casLow] = halves(request.cas)
    const { revno } = request
    const isMutation = request.kind === RecordKind.mutation
    const expiry = isMutation ? request.time : 0
    const { flags } = request
    const version = { revno, casHigh, casLow, expiry, flags }
    return wins(version, current) ? Status.success : Status.keyExists
  }
}

function halves(cas: bigint): [high: number, low: number] {
  return [Number(cas >> 32n), Number(cas & 0xffffffffn)]
}
