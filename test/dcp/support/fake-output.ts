import type { DcpOutput } from '../../../src/dcp/output.ts'

/** A connection's way out: a kernel that takes everything, or as much as it is told to. */
export class FakeOutput implements DcpOutput {
  onDrain: (() => void) | undefined
  closedFor: string | undefined
  /** Where bytes go that the kernel took and the link delivered. */
  deliver: (bytes: Buffer) => void = () => undefined
  writtenBytes = 0
  /** The most that was ever queued. */
  queuedBytesMax = 0
  readonly #queue: Buffer[] = []
  #queuedBytes = 0
  #isOpen = true

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  write(bytes: Uint8Array): void {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    this.writtenBytes += buffer.length
    if (this.#isOpen) {
      this.deliver(buffer)
      return
    }
    this.#queue.push(buffer)
    this.#queuedBytes += buffer.length
    this.queuedBytesMax = Math.max(this.queuedBytesMax, this.#queuedBytes)
  }

  close(reason: string): void {
    this.closedFor = reason
  }

  /** From now on the kernel takes nothing. */
  stall(): void {
    this.#isOpen = false
  }

  /** The kernel takes this much of what is queued, and nothing more. */
  take(bytes: number): void {
    let left = bytes
    while (left > 0 && this.#queue.length > 0) {
      const first = this.#queue[0]!
      const part = first.subarray(0, left)
      left -= part.length
      this.#queuedBytes -= part.length
      if (part.length === first.length) this.#queue.shift()
      else this.#queue[0] = first.subarray(part.length)
      this.deliver(part)
    }
    this.onDrain?.()
  }

  /** The kernel takes everything again. */
  flow(): void {
    this.#isOpen = true
    this.take(Infinity)
  }
}
