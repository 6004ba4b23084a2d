/**
 * Puts a version in the place of a document's newest one, whether that lives or is a tombstone:
 * for those who read a document, work on it and write it back within one turn of the event loop.
 */
import type { Clock } from '../clock.ts'
import { Status } from '../../protocol/status.ts'
import { copyShared } from '../storage/copy-shared.ts'
import { RecordKind, type RecordView } from '../storage/record.ts'
import type { DocumentFinder } from './document-finder.ts'
import type { DocumentWriter } from './document-writer.ts'
import type { DocumentCollections } from './documents.ts'
import type { StoreRequest } from './store-request.ts'
import { limitedExpiry } from './expiry.ts'
import type { DocumentLocks } from './locks.ts'
import type { Vbucket } from './vbucket.ts'
import { systemXattrBytesMax } from './xattr-section.ts'

export interface Rewrite {
  kind: RecordKind
  /** Attributes, if the datatype says so, and the body. */
  value: Buffer
  /** How much of the value are system attributes. */
  systemXattrBytes: number
  datatype: number
  flags: number
  /** Absolute expiry; of a tombstone its delete time. */
  time: number
}

export class DocumentRewriter {
  readonly #finder: DocumentFinder
  readonly #writer: DocumentWriter
  readonly #locks: DocumentLocks
  readonly #clock: Clock
  readonly #collections: DocumentCollections
  readonly #admit: (vbucket: Vbucket) => Status
  readonly #valueBytesMax: number

  constructor(options: {
    finder: DocumentFinder
    writer: DocumentWriter
    locks: DocumentLocks
    clock: Clock
    collections: DocumentCollections
    valueBytesMax: number
    admit: (vbucket: Vbucket) => Status
  }) {
    this.#finder = options.finder
    this.#writer = options.writer
    this.#locks = options.locks
    this.#clock = options.clock
    this.#collections = options.collections
    this.#admit = options.admit
    this.#valueBytesMax = options.valueBytesMax
  }

  /** Whether the request, by its CAS, may change this version: the newest that it can see. */
  check(
    vbucket: Vbucket,
    request: StoreRequest,
    version: { casHigh: number; casLow: number } | undefined,
  ): Status {
    const admitted = this.#admit(vbucket)
    if (admitted !== Status.success) return admitted
    const { key, keyStart, keyLength, casHigh, casLow } = request
    const lock = this.#locks.find(vbucket.id, key, keyStart, keyLength, this.#clock.nowMs())
    if (lock !== undefined) {
      return lock.casHigh === casHigh && lock.casLow === casLow ? Status.success : Status.locked
    }
    if (casHigh === 0 && casLow === 0) return Status.success
    if (version === undefined) return Status.keyNotFound
    const isSame = version.casHigh === casHigh && version.casLow === casLow
    return isSame ? Status.success : Status.keyExists
  }

  /**
   * Writes what the request names, after a `check` in the same turn. `seal` may still change bytes
   * of the value when CAS and seqno are known.
   */
  write(
    vbucket: Vbucket,
    request: StoreRequest,
    rewrite: Rewrite,
    seal?: (record: RecordView) => void,
  ): Status {
    const { value, systemXattrBytes } = rewrite
    if (systemXattrBytes > systemXattrBytesMax) return Status.tooLarge
    if (value.length - systemXattrBytes > this.#valueBytesMax) return Status.tooLarge
    const { key, keyStart, keyLength } = request
    const { change } = this.#writer
    const { current } = this.#finder
    const found = this.#finder.find(vbucket, key, keyStart, keyLength)
    change.kind = rewrite.kind
    change.datatype = rewrite.datatype
    change.flags = rewrite.kind === RecordKind.mutation ? rewrite.flags : 0
    change.time = this.#timeOf(rewrite, key, keyStart)
    // As with any other write: behind a purged tombstone, too.
    change.revno = (found ? current.revno : vbucket.purgeSeqno) + 1
    change.replace(found, current)
    if (rewrite.kind === RecordKind.mutation) {
      const room = this.#writer.admitSize(keyLength, value.length)
      if (room !== Status.success) return room
    }
    const record = this.#writer.begin(vbucket, key, keyStart, keyLength, value.length)
    copyShared(value, 0, value.length, record.bytes, record.valueStart)
    seal?.(record)
    this.#locks.unlock(vbucket.id, key, keyStart, keyLength)
    this.#writer.finish(vbucket)
    return Status.success
  }

  #timeOf({ kind, time }: Rewrite, key: Buffer, keyStart: number): number {
    const maxTtlSeconds = this.#collections.maxTtlSeconds(key, keyStart)
    if (kind !== RecordKind.mutation || maxTtlSeconds === 0) return time
    return limitedExpiry(time, Math.floor(this.#clock.nowMs() / 1000), maxTtlSeconds)
  }
}
