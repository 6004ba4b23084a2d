/**
 * The flusher's side of the change log: finds what a batch brings to each vbucket, and leaves out
 * versions that the same batch supersedes.
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

/** What a record takes beside itself: its document entry, its expiry or tombstone. */
const entryOverheadBytes = 100

/** What one stretch of the log brings to a vbucket. */
export interface VbucketStretch {
  readonly vbid: number
  /** Of the entries to write, in the order of their seqnos. */
  positions: number[]
  /** About what they will take on disk. */
  bytes: number
  highSeqno: number
  maxCasHigh: number
  maxCasLow: number
}

/** By vbid. */
export type Stretch = readonly VbucketStretch[]

/** A vbucket while the log is read: every entry, even if a later one supersedes it. */
interface Gathered extends VbucketStretch {
  lengths: number[]
  /** Seqno of the next version of the key of each, or Infinity. */
  successors: number[]
}

export class LogReader {
  readonly #segments = new Map<number, LogSegment>()
  readonly #view = new RecordView()
  /** The segment that was read last. */
  #last: LogSegment | undefined
  /** Everything before this position is on disk. */
  #applied = segmentSpan

  addSegment(number: number, memory: SharedArrayBuffer): void {
    this.#segments.set(number, logSegment(number, memory))
  }

  removeSegment(number: number): void {
    this.#segments.delete(number)
    if (this.#last?.number === number) this.#last = undefined
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

  /** The record at a position; the view is valid until the next call. */
  recordAt(position: number): RecordView {
    const number = segmentOf(position)
    // Those of a vbucket are asked for in order: mostly it is the segment of the one before.
    const segment = number === this.#last?.number ? this.#last : this.#segments.get(number)
    invariant(segment, 'a segment is released only after it was applied')
    this.#last = segment
    return this.#view.at(segment.bytes, offsetIn(position) + entryHeaderLength)
  }

  /** Looks at each entry once: for most of them that is a wait for memory. */
  #stretch(from: number, upTo: number): Stretch {
    const gathered: (Gathered | undefined)[] = []
    for (let number = segmentOf(from); number <= segmentOf(upTo); number++) {
      const segment = this.#segments.get(number)
      if (segment === undefined) continue
      const end = number === segmentOf(upTo) ? offsetIn(upTo) : segment.bytes.length
      const start = number === segmentOf(from) ? offsetIn(from) : 0
      this.#gather(segment, start, end, gathered)
    }
    const stretch = gathered.filter(one => one !== undefined)
    for (const one of stretch) leaveOutSuperseded(one)
    return stretch
  }

  #gather(
    segment: LogSegment,
    start: number,
    end: number,
    gathered: (Gathered | undefined)[],
  ): void {
    for (let offset = start; offset < end;) {
      const length = recordLengthAt(segment, offset)
      if (length === 0) break
      const record = this.#view.at(segment.bytes, offset + entryHeaderLength)
      const { vbid, seqno, casHigh, casLow } = record
      const own = (gathered[vbid] ??= nothingOf(vbid))
      own.highSeqno = seqno
      if (casHigh > own.maxCasHigh || (casHigh === own.maxCasHigh && casLow > own.maxCasLow)) {
        own.maxCasHigh = casHigh
        own.maxCasLow = casLow
      }
      const delta = supersededAt(segment, offset)
      own.positions.push(positionOf(segment.number, offset))
      own.lengths.push(length)
      own.successors.push(delta === 0 ? Infinity : seqno + delta)
      offset += entryLength(length)
    }
  }
}

function nothingOf(vbid: number): Gathered {
  const nothing = { positions: [], lengths: [], successors: [] }
  return { vbid, ...nothing, bytes: 0, highSeqno: 0, maxCasHigh: 0, maxCasLow: 0 }
}

/**
 * A version whose successor is in this stretch too need not be written. One whose successor comes
 * later must be: until then the disk has to show it.
 */
function leaveOutSuperseded(gathered: Gathered): void {
  const { positions, lengths, successors, highSeqno } = gathered
  let kept = 0
  let bytes = 0
  for (const [i, successor] of successors.entries()) {
    if (successor <= highSeqno) continue
    positions[kept++] = positions[i]!
    bytes += lengths[i]! + entryOverheadBytes
  }
  positions.length = kept
  gathered.bytes = bytes
}
