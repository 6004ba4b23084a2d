import type { Writable } from 'node:stream'

/** Lines gathered up to this size go out in one write. */
const batchLengthMax = 64 * 1024

/** Writes lines to a stream, in batches and no faster than it takes them. */
export class LineWriter {
  readonly #stream: Writable
  readonly #onBroken: () => void
  #batch: string[] = []
  #batchLength = 0
  #unwritten = 0
  #scheduled = false
  #broken = false
  #wake: (() => void) | undefined

  /** `onBroken` is called when nobody reads any more, such as behind `| head`. */
  constructor(stream: Writable, onBroken: () => void) {
    this.#stream = stream
    this.#onBroken = onBroken
    stream.on('error', () => this.#break())
    stream.on('drain', () => this.release())
  }

  /** Whether every line is with the reader, or at least with the system. */
  get flushed(): boolean {
    return !this.#broken && this.#batchLength === 0 && this.#unwritten === 0
  }

  /** A promise if the caller has to wait before it writes more. */
  write(line: string): Promise<void> | undefined {
    if (this.#broken) return undefined
    this.#batch.push(line)
    this.#batchLength += line.length
    if (this.#batchLength < batchLengthMax) {
      this.#schedule()
      return undefined
    }
    return this.flush() ? undefined : new Promise(resolve => (this.#wake = resolve))
  }

  /** Hands over what was gathered; false if the stream wants a pause. */
  flush(): boolean {
    if (this.#batchLength === 0 || this.#broken) return true
    const text = this.#batch.join('')
    this.#batch = []
    this.#batchLength = 0
    this.#unwritten++
    return this.#stream.write(text, error => {
      this.#unwritten--
      if (error) this.#break()
    })
  }

  /** Whoever waits for the stream no longer does. */
  release(): void {
    this.#wake?.()
    this.#wake = undefined
  }

  /** Resolves when every line is written, or nothing can be written any more. */
  async end(): Promise<void> {
    this.flush()
    if (!this.#broken) await new Promise<void>(resolve => this.#stream.write('', () => resolve()))
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    // Comes when the changes at hand are done with: the lines of a burst leave together.
    setImmediate(() => {
      this.#scheduled = false
      this.flush()
    })
  }

  #break(): void {
    if (this.#broken) return
    this.#broken = true
    this.release()
    this.#onBroken()
  }
}
