/**
 * Finds a key's newest version: in memory, where everything is that is not on disk yet and some
 * that is, and then on disk. What it shows is in reused objects, valid until the next search.
 */
import type { DiskReader } from '../storage/disk-reader.ts'
import { RecordView } from '../storage/record.ts'
import type { ChangeLog } from './change-log.ts'
import type { Vbucket } from './vbucket.ts'

/** Metadata of the version that was found last. */
export class Current {
  isDeletion = false
  seqno = 0
  revno = 0
  casHigh = 0
  casLow = 0
  flags = 0
  expiry = 0
  datatype = 0
  valueLength = 0
}

export class DocumentFinder {
  readonly current = new Current()
  readonly #changes: ChangeLog
  readonly #disk: DiskReader
  readonly #view = new RecordView()
  #isInMemory = false
  /** Where the version is that was found on disk last. */
  readonly #place = { seqno: 0, block: 0 }

  constructor(changes: ChangeLog, disk: DiskReader) {
    this.#changes = changes
    this.#disk = disk
  }

  /** Fills `current` with the key's newest version, live or tombstone; false if there is none. */
  find(vbucket: Vbucket, key: Uint8Array, start: number, length: number): boolean {
    const { current } = this
    const view = this.#view
    this.#isInMemory =
      this.#changes.find(vbucket.id, key, start, length, view) && !mayBePurged(vbucket, view)
    const source = this.#isInMemory ? view : this.#entry(vbucket, key, start, length)
    if (source === undefined) return false
    current.isDeletion = source.isDeletion
    current.seqno = source.seqno
    current.revno = source.revno
    current.casHigh = source.casHigh
    current.casLow = source.casLow
    current.flags = source.flags
    current.expiry = source.expiry
    current.datatype = source.datatype
    current.valueLength = source.valueLength
    return true
  }

  /** The whole record of what `find` found for this key. */
  record(vbucket: Vbucket, key: Uint8Array, start: number, length: number): RecordView {
    const view = this.#view
    if (!this.#isInMemory) {
      this.#disk.document(vbucket.id, this.#place, key, start, length, view)
    }
    return view
  }

  /** The newest version with its value, without its metadata being copied: what a GET needs. */
  newest(vbucket: Vbucket, key: Uint8Array, start: number, length: number): RecordView | undefined {
    const view = this.#view
    if (this.#changes.find(vbucket.id, key, start, length, view)) {
      if (!mayBePurged(vbucket, view)) return view
    }
    const entry = this.#entry(vbucket, key, start, length)
    if (entry === undefined) return undefined
    this.#disk.document(vbucket.id, this.#place, key, start, length, view)
    if (!view.isDeletion) this.#changes.keep(view)
    return view
  }

  #entry(vbucket: Vbucket, key: Uint8Array, start: number, length: number) {
    if (vbucket.diskHidden) return undefined
    const entry = this.#disk.entry(vbucket.id, key, start, length)
    if (entry !== undefined) {
      this.#place.seqno = entry.seqno
      this.#place.block = entry.block
    }
    return entry
  }
}

/**
 * The log keeps a tombstone for the streams for a while after the disk has given it up: the disk
 * knows whether it has, as not all go of those that may.
 */
function mayBePurged(vbucket: Vbucket, record: RecordView): boolean {
  return record.seqno <= vbucket.purgeSeqno && record.isDeletion
}
