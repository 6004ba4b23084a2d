import type { Writable } from 'node:stream'

/** What leaves together is put into one write up to this size; beyond, the copy costs more. */
const batchBytesMax = 64 * 1024

/** Gathers what is sent within one turn of the event loop and writes it at its end. */
export class Outbox {
  readonly #target: Writable
  #waiting: Buffer[] = []

  constructor(target: Writable) {
    this.#target = target
  }

  /** `bytes` must not be changed afterwards. */
  add(bytes: Buffer): void {
    // Not a microtask: those of one burst of answers ask for more, which shall leave with it.
    if (this.#waiting.length === 0) process.nextTick(() => this.#flush())
    this.#waiting.push(bytes)
  }

  clear(): void {
    this.#waiting = []
  }

  #flush(): void {
    let batch: Buffer[] = []
    let batchBytes = 0
    for (const bytes of this.#waiting) {
      if (batchBytes + bytes.length > batchBytesMax) {
        this.#write(batch)
        batch = []
        batchBytes = 0
      }
      batch.push(bytes)
      batchBytes += bytes.length
    }
    this.#waiting = []
    this.#write(batch)
  }

  #write(batch: Buffer[]): void {
    if (batch.length > 0) this.#target.write(batch.length === 1 ? batch[0]! : Buffer.concat(batch))
  }
}
