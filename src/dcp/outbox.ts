/**
 * Encodes a connection's stream frames and hands them to its output. Small frames of many streams
 * are written one behind the other into one slab, which leaves in one piece; whole slabs that a
 * backfill has read pass through as they are. Counts what is sent, for flow control.
 */
import { headerLength } from '../../protocol/header.ts'
import { copyShared } from '../storage/copy-shared.ts'
import type { FlowControl } from './flow-control.ts'
import type { DcpOutput } from './output.ts'

/** Handed over in slices, so that one allocation serves many small writes. */
const slabBytesMin = 64 * 1024

export class Outbox {
  /** Where `reserve` makes room; look again after every call. */
  slab: Buffer = Buffer.alloc(0)
  readonly #output: DcpOutput
  readonly #flow: FlowControl
  /** [#start, #end) of the slab is encoded and not handed over yet. */
  #start = 0
  #end = 0
  #writtenBytes = 0

  constructor(output: DcpOutput, flow: FlowControl) {
    this.#output = output
    this.#flow = flow
  }

  /** Bytes that wait here or for the kernel. */
  get queuedBytes(): number {
    return this.#output.queuedBytes + this.#end - this.#start
  }

  /** Bytes encoded since the connection was opened. */
  get writtenBytes(): number {
    return this.#writtenBytes
  }

  /** Room for a frame at the offset returned; `commit` takes what was written there. */
  reserve(length: number): number {
    if (this.#end + length > this.slab.length) {
      this.flush()
      this.slab = Buffer.allocUnsafeSlow(Math.max(slabBytesMin, length))
      this.#start = 0
      this.#end = 0
    }
    return this.#end
  }

  commit(length: number): void {
    this.#end += length
    this.#writtenBytes += length
    this.#flow.sent(length)
  }

  /** For frames that flow control does not count. */
  commitUncounted(length: number): void {
    this.#end += length
  }

  /** Passes on whole frames; the bytes are the output's until `taken` is called, if ever. */
  pass(bytes: Buffer, taken?: () => void): void {
    this.flush()
    this.#writtenBytes += bytes.length
    this.#flow.sent(bytes.length)
    this.#output.write(bytes, taken)
  }

  /** Whole frames so short that handing them over alone would cost more than copying them. */
  copy(bytes: Buffer): void {
    const offset = this.reserve(bytes.length)
    copyShared(bytes, 0, bytes.length, this.slab, offset)
    this.commit(bytes.length)
  }

  flush(): void {
    if (this.#end === this.#start) return
    const bytes = this.slab.subarray(this.#start, this.#end)
    this.#start = this.#end
    this.#output.write(bytes)
  }
}

/** Where to cut whole frames so that no more than one of them reaches beyond `room` bytes. */
export function cutFrames(
  frames: Buffer,
  start: number,
  room: number,
): { end: number; last: number } {
  let end = start
  let last = start
  while (end < frames.length && end - start < room) {
    last = end
    end += headerLength + frames.readUInt32BE(end + 8)
  }
  return { end, last }
}
