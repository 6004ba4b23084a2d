import type { KvClient } from '../../src/client/index.ts'

/** Acknowledged together, once they are on disk: what waits for the disk stays small. */
const atOnce = 2_000

export interface SteadyUpdatesOptions {
  documents: number
  valueBytes: number
}

/** The same documents are written over and over, in the same order: what is stored stays as large. */
export class SteadyUpdates {
  readonly #kv: KvClient
  readonly #documents: number
  readonly #value: Buffer
  #next = 0
  #running: Promise<void> | undefined
  #isStopped = false

  constructor(kv: KvClient, { documents, valueBytes }: SteadyUpdatesOptions) {
    this.#kv = kv
    this.#documents = documents
    this.#value = Buffer.alloc(valueBytes, 'v')
  }

  async write(count: number): Promise<void> {
    for (let done = 0; done < count; done += atOnce) {
      const size = Math.min(atOnce, count - done)
      await Promise.all(Array.from({ length: size }, () => this.#writeNext()))
    }
  }

  /** Goes on until `stop`, with pauses. */
  start(): void {
    this.#isStopped = false
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      await this.write(atOnce)
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }

  #writeNext(): Promise<unknown> {
    const key = `document-${this.#next++ % this.#documents}`
    return this.#kv.set(key, this.#value, { durability: 'persistToMajority' })
  }
}
