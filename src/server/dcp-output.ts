import type { DcpOutput } from '../dcp/output.ts'
import type { OutputSlab } from './output-slab.ts'
import type { ResponseWriter } from './response-writer.ts'

/** Where the streams of a connection write: behind the answers that were encoded before. */
export class SocketDcpOutput implements DcpOutput {
  onDrain: (() => void) | undefined
  readonly #writer: ResponseWriter
  readonly #slab: OutputSlab
  readonly #end: (reason: string) => void

  constructor(writer: ResponseWriter, slab: OutputSlab, end: (reason: string) => void) {
    this.#writer = writer
    this.#slab = slab
    this.#end = end
  }

  get queuedBytes(): number {
    return this.#writer.unreadBytes
  }

  write(bytes: Uint8Array, taken?: () => void): void {
    this.#slab.flush()
    const buffer = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    this.#writer.deliverFrames(buffer, taken)
  }

  close(reason: string): void {
    this.#end(reason)
  }
}
