/**
 * The flusher's side of the change log: finds what a batch brings to each environment, and leaves
 * out versions that the same batch supersedes.
 */
import { invariant } from '../errors.ts'
import type { FlushStep } from './flusher-messages.ts'
import {
  entryHeaderLength,
  entryLength,
  logSegment,
  offsetIn,
  positionOf,
  recordLengthAt,
  segmentOf,
  segmentSpan,
  supersededAt,
  type LogSegment,
} from './log-segment.ts'
import { RecordView } from './record.ts'

/** What a record takes beside itself: its keys, its document entry, its expiry or tombstone. */
const entryOverheadBytes = 100

/** One stretch of the log, as positions of the entries to write, by environment. */
export interface Stretch {
  entries: number[][]
  /** About what the entries will take on disk, by environment. */
  bytes: number[]
  /** High seqno and greatest CAS that the stretch brings to each vbucket. */
  highs: Map<number, { seqno: number; cas: bigint }>
}

export class LogReader {
  readonly #environmentCount: number
  readonly #segments = new Map<number, LogSegment>()
  readonly #view = new RecordView()
  /** Everything before this position is on disk. */
  #applied = segmentSpan

  constructor(environmentCount: number) {
    this.#environmentCount = environmentCount
  }

  addSegment(number: number, memory: SharedArrayBuffer): void {
    this.#segments.set(number, logSegment(number, memory))
  }

  removeSegment(number: number): void {
    this.#segments.delete(number)
  }

  /** All that these steps bring is on disk. */
  markApplied(steps: readonly FlushStep[]): void {
    for (const step of steps) if (step.kind === 'apply') this.#applied = step.upTo
  }

  /** What each `apply` step brings, in the order of the steps. */
  stretches(steps: readonly FlushStep[]): (Stretch | undefined)[] {
    let from = this.#applied
    return steps.map(step => {
      if (step.kind !== 'apply') return undefined
      const stretch = this.#stretch(from, step.upTo)
      from = step.upTo
      return stretch
    })
  }

  #stretch(from: number, upTo: number): Stretch {
    const stretch: Stretch = {
      entries: Array.from({ length: this.#environmentCount }, () => []),
      bytes: Array.from({ length: this.#environmentCount }, () => 0),
      highs: new Map(),
    }
    const seen: number[] = []
    this.#visit(from, upTo, (segment, offset) => {
      const record = this.#view.at(segment.bytes, offset + entryHeaderLength)
      const high = stretch.highs.get(record.vbid)
      const { seqno, cas } = record
      if (high === undefined) stretch.highs.set(record.vbid, { seqno, cas })
      else {
        high.seqno = seqno
        if (cas > high.cas) high.cas = cas
      }
      seen.push(positionOf(segment.number, offset))
    })
    for (const position of seen) {
      const segment = this.#segments.get(segmentOf(position))!
      const offset = offsetIn(position)
      const { vbid, seqno } = this.#view.at(segment.bytes, offset + entryHeaderLength)
      // A version whose successor is in this stretch too need not be written. One whose
      // successor comes later must be: until then the disk has to show it.
      const delta = supersededAt(segment, offset)
      if (delta !== 0 && seqno + delta <= stretch.highs.get(vbid)!.seqno) continue
      const environment = vbid % this.#environmentCount
      stretch.entries[environment]!.push(position)
      stretch.bytes[environment]! += recordLengthAt(segment, offset) + entryOverheadBytes
    }
    for (const entries of stretch.entries) this.#sort(entries)
    return stretch
  }

  /** By vbucket, then by seqno: neighbours in the records table are written together. */
  #sort(positions: number[]): void {
    const byVbucket = new Map<number, number[]>()
    for (const position of positions) {
      const { vbid } = this.recordAt(position)
      const own = byVbucket.get(vbid)
      if (own === undefined) byVbucket.set(vbid, [position])
      else own.push(position)
    }
    let next = 0
    for (const vbid of [...byVbucket.keys()].sort((one, other) => one - other)) {
      for (const position of byVbucket.get(vbid)!) positions[next++] = position
    }
  }

  /** The record at a position; the view is valid until the next call. */
  recordAt(position: number): RecordView {
    const segment = this.#segments.get(segmentOf(position))
    invariant(segment, 'a segment is released only after it was applied')
    return this.#view.at(segment.bytes, offsetIn(position) + entryHeaderLength)
  }

  #visit(from: number, upTo: number, visit: (segment: LogSegment, offset: number) => void): void {
    for (let number = segmentOf(from); number <= segmentOf(upTo); number++) {
      const segment = this.#segments.get(number)
      if (segment === undefined) continue
      const end = number === segmentOf(upTo) ? offsetIn(upTo) : segment.bytes.length
      let offset = number === segmentOf(from) ? offsetIn(from) : 0
      while (offset < end) {
        const length = recordLengthAt(segment, offset)
        if (length === 0) break
        visit(segment, offset)
        offset += entryLength(length)
      }
    }
  }
}
