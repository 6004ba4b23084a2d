import { damaged } from '../errors.ts'

/** Takes exact lengths from chunks of any length. */
export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>
  #buffered: Buffer[] = []
  #length = 0
  #ended = false
  #offset = 0

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]()
  }

  /** How much was taken. */
  get offset(): number {
    return this.#offset
  }

  /** Whether nothing is left. */
  async atEnd(): Promise<boolean> {
    return !(await this.#fill(1))
  }

  /** The next bytes, without taking them. */
  async peek(length: number): Promise<Buffer> {
    if (!(await this.#fill(length)))
      throw damaged(`it is cut off at ${this.#offset + this.#length}`)
    if (this.#buffered[0]!.length < length) this.#buffered = [Buffer.concat(this.#buffered)]
    return this.#buffered[0]!.subarray(0, length)
  }

  /** The next bytes; a view of what was read. */
  async take(length: number): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0)
    const bytes = await this.peek(length)
    const rest = this.#buffered[0]!.subarray(length)
    if (rest.length === 0) this.#buffered.shift()
    else this.#buffered[0] = rest
    this.#length -= length
    this.#offset += length
    return bytes
  }

  /** Whoever stops early says so, that files and connections are closed. */
  async close(): Promise<void> {
    if (!this.#ended) await this.#chunks.return?.()
    this.#ended = true
  }

  async #fill(length: number): Promise<boolean> {
    while (this.#length < length && !this.#ended) {
      const { done, value } = await this.#chunks.next()
      if (done) this.#ended = true
      else if (value.length > 0) {
        this.#buffered.push(Buffer.from(value.buffer, value.byteOffset, value.length))
        this.#length += value.length
      }
    }
    return this.#length >= length
  }
}
