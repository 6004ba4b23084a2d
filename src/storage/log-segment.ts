/**
 * Segments of the change log: shared memory that the main thread appends records to and the
 * flusher reads. A record never spans segments. Entries are aligned to 8 bytes:
 *
 *   | record length u32 | superseded u32 | key hash u32 | unused u32 | record … | padding |
 *
 * A length of 0 ends what is written so far; memory is used again, so what lies behind it is of an
 * earlier segment. `superseded` is 0, or how many seqnos later the same key changed again: it is the
 * only word that is written after the entry was published, and being one aligned word it is read
 * whole by the other thread.
 *
 * A position names an entry for good: segment number × 2^26 + its offset in units of 8 bytes. So a
 * segment may take up to 512 MiB, and the numbers last for 2^27 segments: decades.
 */
export const entryHeaderLength = 16

export interface LogSegment {
  readonly number: number
  readonly bytes: Buffer
  readonly words: Uint32Array
}

export function logSegment(number: number, memory: SharedArrayBuffer): LogSegment {
  return { number, bytes: Buffer.from(memory), words: new Uint32Array(memory) }
}

/** Bytes that an entry with a record of this length takes in a segment. */
export function entryLength(recordBytes: number): number {
  return (entryHeaderLength + recordBytes + 7) & ~7
}

export const segmentSpan = 2 ** 26
/** Entries begin at multiples of it. */
export const offsetUnitBytes = 8

export function positionOf(number: number, offset: number): number {
  return positionAt(number, offset / offsetUnitBytes)
}

/** Of the entry so many units of 8 bytes behind the segment's beginning. */
export function positionAt(number: number, units: number): number {
  return number * segmentSpan + units
}

export function segmentOf(position: number): number {
  return Math.floor(position / segmentSpan)
}

/** Not a remainder: of numbers beyond 32 bits that is a call of a library. */
export function offsetUnitsIn(position: number): number {
  return position - segmentOf(position) * segmentSpan
}

export function offsetIn(position: number): number {
  return offsetUnitsIn(position) * offsetUnitBytes
}

/** Nothing is written yet from `offset` on. */
export function markEnd({ words }: LogSegment, offset: number): void {
  const word = offset >>> 2
  if (word < words.length) words[word] = 0
}

export function recordLengthAt(segment: LogSegment, offset: number): number {
  return offset + 4 > segment.bytes.length ? 0 : segment.words[offset >>> 2]!
}

/** 0, or by how many seqnos the next version of this key is later (capped at 2^32 − 1). */
export function supersededAt(segment: LogSegment, offset: number): number {
  return segment.words[(offset >>> 2) + 1]!
}

export function keyHashAt(segment: LogSegment, offset: number): number {
  return segment.words[(offset >>> 2) + 2]!
}
