/**
 * The change log: every change since a while, appended once, in memory shared with the flusher.
 * It is three things at once: what a read sees before LMDB has it, the flusher's input, and what
 * streams in their in-memory phase are fed from.
 *
 * A segment is retired when all of it is on disk and more than `retainBytes` are held; so what
 * is not in the log is on disk. For each vbucket the log holds a gapless run of seqnos up to the
 * newest, and `lowestSeqno` tells where it begins.
 */
import { invariant } from '../errors.ts'
import {
  entryHeaderLength,
  entryLength,
  offsetIn,
  positionOf,
  recordLengthAt,
  segmentOf,
  segmentSpan,
} from '../storage/log-segment.ts'
import { recordLength, writeRecordHead, type RecordHead, RecordView } from '../storage/record.ts'
import type { KeyBatch } from './key-batch.ts'
import { RecordMemory, type Segment } from './record-memory.ts'
import { SeqnoRun } from './seqno-run.ts'

export interface ChangeLogOptions {
  segmentBytes: number
  /** How much of what is already on disk is kept for streams. */
  retainBytes: number
  /** How much is kept for reads alone. */
  cacheBytes: number
  /** A segment has come into being, or is not needed any more: the flusher is told. */
  onSegment(number: number, memory: SharedArrayBuffer): void
  onRelease(number: number): void
}

export class ChangeLog {
  readonly #options: ChangeLogOptions
  /** Oldest first. */
  readonly #segments = new Map<number, Segment>()
  readonly #runs: (SeqnoRun | undefined)[] = []
  readonly #memory: RecordMemory
  readonly #scratch = new RecordView()
  #stretches = 0
  /** The newest stretch that a vbucket was in: they are asked for after every few changes. */
  readonly #lastStretch: number[] = []
  #current: Segment | undefined
  #appendedBytes = 0
  #committedBytes = 0
  #retiredBytes = 0
  #committed = segmentSpan

  constructor(options: ChangeLogOptions) {
    this.#options = options
    this.#memory = new RecordMemory(options)
  }

  /** Bytes of changes that are not on disk yet. */
  get unflushedBytes(): number {
    return this.#appendedBytes - this.#committedBytes
  }

  /** Bytes of changes held for the flusher and for streams, on disk or not. */
  get retainedBytes(): number {
    return this.#appendedBytes - this.#retiredBytes
  }

  /** Of all segments, also of those that hold nothing now. */
  get memory(): Iterable<SharedArrayBuffer> {
    return this.#memory.memory
  }

  /** Memory held for reads alone. */
  get cachedBytes(): number {
    return this.#memory.cachedBytes
  }

  /** Where the next entry will be, or before that; all before it has been appended. */
  get end(): number {
    const segment = this.#current
    return segment ? positionOf(segment.number, segment.used) : this.#memory.end
  }

  /** Everything before this position is on disk. */
  get committed(): number {
    return this.#committed
  }

  /**
   * Appends a change and returns the record with its head and key written; the caller copies
   * the value into it before anything else happens on this thread.
   */
  append(
    head: RecordHead,
    key: Uint8Array,
    keyStart: number,
    keyLength: number,
    valueLength: number,
  ): RecordView {
    const length = recordLength(head.kind, keyLength, valueLength, head.flags)
    const segment = this.#room(entryLength(length))
    const offset = segment.used
    const start = offset + entryHeaderLength
    const { bytes } = segment
    writeRecordHead(bytes, start, head, keyLength, valueLength)
    const target = start + length - valueLength - keyLength
    for (let i = 0; i < keyLength; i++) bytes[target + i] = key[keyStart + i]!
    this.#appendedBytes += entryLength(length)
    this.#runOf(head.vbid).push(head.seqno, positionOf(segment.number, offset))
    const before = this.#memory.put(segment, target, keyLength, head.vbid, length)
    if (before >= 0) this.#supersede(before, head.seqno)
    return this.#scratch.at(bytes, start)
  }

  /** Shows the newest version of a key; false if it is not in memory: then it is on disk. */
  find(vbid: number, key: Uint8Array, start: number, length: number, view: RecordView): boolean {
    return this.#memory.find(vbid, key, start, length, view)
  }

  /** Prepares look-ups that will follow. */
  fetch(batch: KeyBatch): void {
    this.#memory.fetch(batch)
  }

  /** Keeps a copy of a record that a read had to get from disk. */
  keep(record: RecordView): void {
    this.#memory.keep(record)
  }

  /** All of [lowest, high] of the vbucket is in memory; high + 1 when nothing is. */
  lowestSeqno(vbid: number, highSeqno: number): number {
    const run = this.#runs[vbid]
    return run === undefined || run.length === 0 ? highSeqno + 1 : run.first
  }

  /** The newest seqno of the vbucket that is on disk; what is not in memory is. */
  committedSeqno(vbid: number, highSeqno: number): number {
    const run = this.#runs[vbid]
    if (run === undefined || run.length === 0) return highSeqno
    return run.first - 1 + run.countBefore(this.#committed)
  }

  /** Shows the change with this seqno; false if it is not in memory. */
  at(vbid: number, seqno: number, view: RecordView): boolean {
    const position = this.positionOf(vbid, seqno)
    if (position < 0) return false
    this.#memory.show(position, view)
    return true
  }

  /** Where the change with this seqno is, or -1. */
  positionOf(vbid: number, seqno: number): number {
    return this.#runs[vbid]?.positionOf(seqno) ?? -1
  }

  /** 0, or the seqno of the next version of the key of a change that `at` showed. */
  supersededBy(view: RecordView): number {
    const delta = view.bytes.readUInt32LE(view.start - entryHeaderLength + 4)
    return delta === 0 ? 0 : view.seqno + delta
  }

  /** What has been appended behind `position`, in pieces, and the vbuckets that it is of. */
  stretchFrom(position: number): { entries: Buffer[]; vbids: number[] } {
    const entries: Buffer[] = []
    const vbids: number[] = []
    const stretch = ++this.#stretches
    const begin = segmentOf(position)
    const last = segmentOf(this.end)
    for (let number = begin; number <= last; number++) {
      const segment = this.#segments.get(number)
      if (segment === undefined) continue
      const first = number === begin ? offsetIn(position) : 0
      if (first === segment.used) continue
      entries.push(segment.bytes.subarray(first, segment.used))
      for (let offset = first; offset < segment.used;) {
        const { vbid } = this.#scratch.at(segment.bytes, offset + entryHeaderLength)
        if (this.#lastStretch[vbid] !== stretch) vbids.push(vbid)
        this.#lastStretch[vbid] = stretch
        offset += entryLength(recordLengthAt(segment, offset))
      }
    }
    return { entries, vbids }
  }

  /** The flusher has everything before `position` on disk. */
  markCommitted(position: number): void {
    invariant(position >= this.#committed, 'the flusher goes forward only')
    this.#committedBytes += this.#bytesBetween(this.#committed, position)
    this.#committed = position
    this.#retireOld()
  }

  /** Forgets a vbucket's changes: it was deleted, or its contents were flushed. */
  forget(vbid: number): void {
    // What is appended from now on lies behind everything that is forgotten.
    this.#current = undefined
    this.#memory.forget(vbid)
    this.#runs[vbid] = undefined
  }

  /** Tells whoever meets the version at `position` that there is a newer one. */
  #supersede(position: number, seqno: number): void {
    const segment = this.#segments.get(segmentOf(position))
    // The streams are past it, and so is the flusher.
    if (segment === undefined) return
    const offset = offsetIn(position)
    const old = this.#scratch.at(segment.bytes, offset + entryHeaderLength).seqno
    segment.words[(offset >>> 2) + 1] = Math.min(seqno - old, 0xffffffff)
  }

  #runOf(vbid: number): SeqnoRun {
    return (this.#runs[vbid] ??= new SeqnoRun())
  }

  #room(bytes: number): Segment {
    const current = this.#current
    if (current !== undefined && current.used + bytes <= current.capacity) return current
    return this.#open(bytes)
  }

  #open(bytes: number): Segment {
    const segment = this.#memory.open(bytes)
    this.#segments.set(segment.number, segment)
    this.#current = segment
    this.#options.onSegment(segment.number, segment.memory)
    return segment
  }

  #bytesBetween(from: number, to: number): number {
    let bytes = 0
    for (const [number, { used }] of this.#segments) {
      if (number < segmentOf(from)) continue
      if (number > segmentOf(to)) break
      const first = number === segmentOf(from) ? offsetIn(from) : 0
      const last = number === segmentOf(to) ? offsetIn(to) : used
      bytes += last - first
    }
    return bytes
  }

  #retireOld(): void {
    const { retainBytes } = this.#options
    for (const segment of this.#segments.values()) {
      const isOnDisk = segment.number < segmentOf(this.#committed)
      if (!isOnDisk || this.retainedBytes <= retainBytes) break
      this.#retire(segment)
    }
  }

  #retire(segment: Segment): void {
    const { number, used } = segment
    for (let offset = 0; offset < used;) {
      const record = this.#scratch.at(segment.bytes, offset + entryHeaderLength)
      this.#runs[record.vbid]?.dropThrough(record.seqno, positionOf(number, offset))
      offset += entryLength(recordLengthAt(segment, offset))
    }
    this.#segments.delete(number)
    this.#retiredBytes += used
    this.#options.onRelease(number)
    this.#memory.cache(segment)
  }
}
