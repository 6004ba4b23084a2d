/**
 * The change log: every change since a while, appended once, in memory shared with the flusher.
 * It is three things at once: what a read sees before LMDB has it, the flusher's input, and what
 * streams in their in-memory phase are fed from.
 *
 * A segment is given up when all of it is on disk and more than `retainBytes` are held; so what
 * is not in the log is on disk. For each vbucket the log holds a gapless run of seqnos up to the
 * newest, and `lowestSeqno` tells where it begins.
 */
import { invariant } from '../errors.ts'
import {
  entryHeaderLength,
  entryLength,
  keyHashAt,
  logSegment,
  offsetIn,
  recordLengthAt,
  segmentOf,
  segmentSpan,
  type LogSegment,
} from '../storage/log-segment.ts'
import { recordLength, writeRecordHead, type RecordHead, RecordView } from '../storage/record.ts'
import { ChangeIndex, hashKey } from './change-index.ts'
import { SegmentMemory } from './segment-memory.ts'
import { SeqnoRun } from './seqno-run.ts'

export interface ChangeLogOptions {
  segmentBytes: number
  /** How much of what is already on disk is kept for streams. */
  retainBytes: number
  /** A segment has come into being, or is not needed any more: the flusher is told. */
  onSegment(number: number, memory: SharedArrayBuffer): void
  onRelease(number: number): void
}

interface OwnedSegment extends LogSegment {
  memory: SharedArrayBuffer
  /** Its memory may be larger: then it was that of a larger one. */
  capacity: number
  /** Bytes written so far. */
  used: number
}

export class ChangeLog {
  readonly #options: ChangeLogOptions
  readonly #segments = new Map<number, OwnedSegment>()
  readonly #runs: (SeqnoRun | undefined)[] = []
  readonly #index: ChangeIndex
  readonly #memory = new SegmentMemory()
  readonly #scratch = new RecordView()
  #current: OwnedSegment | undefined
  #oldest = 1
  #next = 1
  #appendedBytes = 0
  #committedBytes = 0
  #releasedBytes = 0
  #committed = segmentSpan

  constructor(options: ChangeLogOptions) {
    this.#options = options
    this.#index = new ChangeIndex({
      isKeyAt: (position, vbid, bytes, start, length) =>
        this.#isKeyAt(position, vbid, bytes, start, length),
    })
  }

  /** Bytes of changes that are not on disk yet. */
  get unflushedBytes(): number {
    return this.#appendedBytes - this.#committedBytes
  }

  /** Bytes of changes held in memory, on disk or not. */
  get retainedBytes(): number {
    return this.#appendedBytes - this.#releasedBytes
  }

  /** Where the next entry will be; all before it has been appended. */
  get end(): number {
    const segment = this.#current
    return segment ? segment.number * segmentSpan + segment.used : this.#next * segmentSpan
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
    const length = recordLength(head.kind, keyLength, valueLength)
    const segment = this.#room(entryLength(length))
    const offset = segment.used
    const start = offset + entryHeaderLength
    const { bytes, words } = segment
    writeRecordHead(bytes, start, head, keyLength, valueLength)
    const target = start + length - valueLength - keyLength
    for (let i = 0; i < keyLength; i++) bytes[target + i] = key[keyStart + i]!
    const hash = hashKey(head.vbid, bytes, target, keyLength)
    const word = offset >>> 2
    words[word] = length
    words[word + 1] = 0
    words[word + 2] = hash
    segment.used += entryLength(length)
    this.#appendedBytes += entryLength(length)
    const position = segment.number * segmentSpan + offset
    this.#runOf(head.vbid).push(head.seqno, position)
    const before = this.#index.put(hash, head.vbid, bytes, target, keyLength, position)
    if (before >= 0) this.#supersede(before, head.seqno)
    return this.#scratch.at(bytes, start)
  }

  /** Shows the newest change of a key that is in the log; false if there is none. */
  find(vbid: number, key: Uint8Array, start: number, length: number, view: RecordView): boolean {
    if (this.#index.size === 0) return false
    const position = this.#index.find(hashKey(vbid, key, start, length), vbid, key, start, length)
    if (position < 0) return false
    this.#show(position, view)
    return true
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
    this.#show(position, view)
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

  /** The flusher has everything before `position` on disk. */
  markCommitted(position: number): void {
    invariant(position >= this.#committed, 'the flusher goes forward only')
    this.#committedBytes += this.#bytesBetween(this.#committed, position)
    this.#committed = position
    this.#releaseOld()
  }

  /** Forgets a vbucket's changes: it was deleted, or its contents were flushed. */
  forget(vbid: number): void {
    const run = this.#runs[vbid]
    if (run === undefined) return
    for (let seqno = run.first; seqno < run.first + run.length; seqno++) {
      this.#forgetAt(run.positionOf(seqno))
    }
    this.#runs[vbid] = undefined
  }

  #isKeyAt(
    position: number,
    vbid: number,
    bytes: Uint8Array,
    start: number,
    length: number,
  ): boolean {
    const record = this.#show(position, this.#scratch)
    if (record.vbid !== vbid || record.keyLength !== length) return false
    const own = record.bytes
    const ownStart = record.keyStart
    for (let i = 0; i < length; i++) {
      if (own[ownStart + i] !== bytes[start + i]) return false
    }
    return true
  }

  #show(position: number, view: RecordView): RecordView {
    const segment = this.#segments.get(segmentOf(position))
    invariant(segment, 'a position that is indexed is in the log')
    return view.at(segment.bytes, offsetIn(position) + entryHeaderLength)
  }

  #supersede(position: number, seqno: number): void {
    const segment = this.#segments.get(segmentOf(position))!
    const offset = offsetIn(position)
    const old = this.#scratch.at(segment.bytes, offset + entryHeaderLength).seqno
    segment.words[(offset >>> 2) + 1] = Math.min(seqno - old, 0xffffffff)
  }

  #runOf(vbid: number): SeqnoRun {
    return (this.#runs[vbid] ??= new SeqnoRun())
  }

  #room(bytes: number): OwnedSegment {
    const current = this.#current
    if (current !== undefined && current.used + bytes <= current.capacity) return current
    return this.#open(Math.max(bytes, this.#options.segmentBytes))
  }

  #open(capacity: number): OwnedSegment {
    const memory = this.#memory.take(capacity)
    const number = this.#next++
    const segment = { ...logSegment(number, memory), memory, capacity, used: 0 }
    this.#segments.set(number, segment)
    this.#current = segment
    this.#options.onSegment(number, memory)
    return segment
  }

  #bytesBetween(from: number, to: number): number {
    let bytes = 0
    for (let number = segmentOf(from); number <= segmentOf(to); number++) {
      const used = this.#segments.get(number)?.used ?? 0
      const first = number === segmentOf(from) ? offsetIn(from) : 0
      const last = number === segmentOf(to) ? offsetIn(to) : used
      bytes += last - first
    }
    return bytes
  }

  #releaseOld(): void {
    while (
      this.retainedBytes > this.#options.retainBytes &&
      this.#oldest < segmentOf(this.#committed)
    ) {
      this.#release(this.#oldest++)
    }
  }

  #release(number: number): void {
    const segment = this.#segments.get(number)!
    for (let offset = 0; offset < segment.used;) {
      const length = recordLengthAt(segment, offset)
      const record = this.#scratch.at(segment.bytes, offset + entryHeaderLength)
      this.#runs[record.vbid]?.dropThrough(record.seqno, number * segmentSpan + offset)
      this.#index.remove(keyHashAt(segment, offset), number * segmentSpan + offset)
      offset += entryLength(length)
    }
    this.#segments.delete(number)
    this.#releasedBytes += segment.used
    this.#options.onRelease(number)
    this.#memory.giveBack(segment.memory, segment.used)
  }

  #forgetAt(position: number): void {
    const segment = this.#segments.get(segmentOf(position))!
    this.#index.remove(keyHashAt(segment, offsetIn(position)), position)
  }
}
