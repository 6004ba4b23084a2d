import { Frame } from './frame.ts'
import type { FrameError } from './frame.ts'
import { headerLength } from './header.ts'
import { isMagic } from './magic.ts'

/** Called for each frame; `false` pauses the reader after it. The frame is valid until it returns. */
export type FrameVisitor = (frame: Frame) => boolean | void

export interface FrameReaderOptions {
  /** A frame with a longer body is visited as `oversized` and its body dropped as it arrives. */
  readonly maxBodyBytes: number
  /** A frame that announces an even longer body ends the connection. */
  readonly skipBodyBytes: number
}

/** Room made for a cut frame at first, whatever its header promises. */
const keptBytesMin = 2 * 1024
/** A buffer grown beyond this is given back once empty: idle connections should cost little. */
const keptBytesIdleMax = 16 * 1024

const nothing = Buffer.alloc(0)

/**
 * Cuts a stream of bytes into frames, wherever its chunks begin and end.
 *
 * - Frames wholly within a chunk are visited as views of that chunk. Only a frame cut by the end of
 *   a chunk is copied, into a buffer that grows with what has arrived (at most to twice that), not
 *   with what a header announces.
 * - A paused reader keeps what it was given until `resume`. Its owner should stop reading from the
 *   socket: whatever is read meanwhile is kept too.
 * - After an error nothing is read any more; each further call reports the error again.
 *
 * Not re-entrant: a visitor must not call `read` or `resume` itself.
 */
export class FrameReader {
  /** May be changed: it holds for headers read from then on. */
  maxBodyBytes: number
  readonly #skipBodyBytes: number
  readonly #frame = new Frame()
  /** [#keptStart, #keptEnd) of #kept has not been visited. */
  #kept: Buffer = nothing
  #keptStart = 0
  #keptEnd = 0
  /** How much of a dropped body has yet to arrive. */
  #dropBytes = 0
  #paused = false
  #error: FrameError | undefined

  constructor(options: FrameReaderOptions) {
    this.maxBodyBytes = options.maxBodyBytes
    this.#skipBodyBytes = options.skipBodyBytes
  }

  /** Bytes kept for a frame that is not whole yet, or for `resume`. */
  get pendingBytes(): number {
    return this.#keptEnd - this.#keptStart
  }

  get paused(): boolean {
    return this.#paused
  }

  /** Visits the frames that `chunk` completes or holds. Returns the error that ends the stream. */
  read(chunk: Uint8Array, visit: FrameVisitor): FrameError | undefined {
    if (this.#error !== undefined) return this.#error
    const bytes = Buffer.isBuffer(chunk)
      ? chunk
      : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    const keepsNothing = this.#keptEnd === this.#keptStart
    let at = keepsNothing ? this.#drop(0, bytes.length) : this.#completeKept(bytes, visit)
    if (this.#error === undefined && !this.#paused) {
      at = this.#visitFrames(bytes, at, bytes.length, visit)
    }
    if (this.#error !== undefined) {
      this.#forget()
    } else if (at < bytes.length) {
      this.#keep(bytes, at, bytes.length, Infinity)
    }
    this.#frame.bytes = nothing
    return this.#error
  }

  /** Goes on after a visitor returned `false`, with what was kept. */
  resume(visit: FrameVisitor): FrameError | undefined {
    if (this.#error !== undefined) return this.#error
    this.#paused = false
    this.#keptStart = this.#visitFrames(this.#kept, this.#keptStart, this.#keptEnd, visit)
    if (this.#error !== undefined || this.#keptStart === this.#keptEnd) this.#forget()
    this.#frame.bytes = nothing
    return this.#error
  }

  /**
   * Moves from the chunk into the kept buffer what the frame there lacks, first of its header, then
   * of its body, and visits it. Returns how much of the chunk was used.
   */
  #completeKept(chunk: Buffer, visit: FrameVisitor): number {
    let used = 0
    while (this.#keptEnd > this.#keptStart && !this.#paused && this.#error === undefined) {
      const lacks = this.#lackingBytes()
      const length = Math.min(lacks, chunk.length - used)
      const frameLength = this.#keptEnd - this.#keptStart + lacks
      this.#keep(chunk, used, used + length, frameLength)
      used += length
      this.#keptStart = this.#visitFrames(this.#kept, this.#keptStart, this.#keptEnd, visit)
      if (length < lacks) break
    }
    if (this.#keptStart === this.#keptEnd) this.#forget()
    return used
  }

  /** What the kept frame needs to become a header, or a whole frame. More than nothing. */
  #lackingBytes(): number {
    const length = this.#keptEnd - this.#keptStart
    if (length < headerLength) return headerLength - length
    this.#frame.bytes = this.#kept
    this.#frame.readHeader(this.#keptStart)
    return this.#frame.end - this.#keptEnd
  }

  /** Visits the frames in [at, end) of `bytes`; returns where the first not visited begins. */
  #visitFrames(bytes: Buffer, start: number, end: number, visit: FrameVisitor): number {
    const frame = this.#frame
    let at = this.#drop(start, end)
    while (at < end) {
      if (!isMagic(bytes[at]!) || end - at < headerLength) break
      frame.bytes = bytes
      frame.readHeader(at)
      if (frame.bodyLength > this.#skipBodyBytes) {
        this.#error = frame.error('too-large')
        return at
      }
      if (frame.malformed || frame.bodyLength > this.maxBodyBytes) {
        frame.oversized = !frame.malformed
        this.#dropBytes = frame.bodyLength
        frame.dropBody()
        at = this.#drop(frame.end, end)
      } else if (frame.end > end) {
        return at
      } else {
        at = frame.end
      }
      if (visit(frame) === false) {
        this.#paused = true
        return at
      }
    }
    if (at < end && !isMagic(bytes[at]!)) this.#error = badMagic(bytes, at, end)
    return at
  }

  /** Steps over what belongs to a dropped body; returns the position after it, at most `end`. */
  #drop(at: number, end: number): number {
    if (this.#dropBytes === 0) return at
    const length = Math.min(this.#dropBytes, end - at)
    this.#dropBytes -= length
    return at + length
  }

  /** Appends [start, end) of `source`; `frameLength` is what will be needed in the end, if known. */
  #keep(source: Buffer, start: number, end: number, frameLength: number): void {
    const length = this.#keptEnd - this.#keptStart
    const needed = length + end - start
    if (this.#keptStart + needed > this.#kept.length) {
      const larger = needed > this.#kept.length
      const capacity = Math.max(keptBytesMin, Math.min(2 * needed, frameLength))
      const room = larger ? Buffer.allocUnsafeSlow(capacity) : this.#kept
      this.#kept.copy(room, 0, this.#keptStart, this.#keptEnd)
      this.#kept = room
      this.#keptStart = 0
      this.#keptEnd = length
    }
    source.copy(this.#kept, this.#keptEnd, start, end)
    this.#keptEnd += end - start
  }

  #forget(): void {
    this.#keptStart = 0
    this.#keptEnd = 0
    if (this.#kept.length > keptBytesIdleMax) this.#kept = nothing
  }
}

/** The header may not have arrived whole: what is missing reads as zero. */
function badMagic(bytes: Buffer, at: number, end: number): FrameError {
  const frame = new Frame()
  frame.bytes = Buffer.alloc(headerLength)
  bytes.copy(frame.bytes, 0, at, Math.min(end, at + headerLength))
  frame.readHeader(0)
  return frame.error('bad-magic')
}
