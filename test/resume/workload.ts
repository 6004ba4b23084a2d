import type { KvClient } from '../../src/client/index.ts'

/** Reads as a document's revision, and is as long as the revision says: nobody can make it up. */
export function valueOf(key: string, revision: number, bytes: number): string {
  const head = `${revision} of ${key} `
  return head.padEnd(bytes, String(revision))
}

export function revisionOf(value: Buffer): number {
  return Number.parseInt(value.toString('latin1', 0, 12), 10)
}

export interface WorkloadOptions {
  kv: KvClient
  random: () => number
  /** How many keys there are. */
  keys: number
  /** Bytes of a value, each revision drawing anew. */
  valueBytes: readonly [least: number, most: number]
  /** How many changes are on their way at once (default 500). */
  pipeline?: number
  /** What is there already: goes on from it. */
  model?: Map<string, number> | undefined
}

/**
 * Writes, and knows what has to be there: the model, from keys to revisions. All changes go over
 * one connection and are carried out in its order, so that the last one of a key wins in both.
 */
export class Workload {
  readonly model: Map<string, number>
  updates = 0
  deletes = 0
  readonly #options: WorkloadOptions
  #revision = 0
  #running: Promise<void> | undefined
  #stopped = false

  constructor(options: WorkloadOptions) {
    this.#options = options
    this.model = options.model ?? new Map()
    for (const revision of this.model.values()) {
      this.#revision = Math.max(this.#revision, revision)
    }
  }

  key(index: number): string {
    return `document-${index}`
  }

  /** Every document once, or those from one to another. */
  async load(first = 0, end = this.#options.keys): Promise<void> {
    await this.#write(end - first, index => this.#set(this.key(first + index)))
  }

  /** Deletes documents at random. */
  async delete(count: number): Promise<void> {
    await this.#write(count, () => this.#delete(this.#anyKey()))
  }

  async update(count: number): Promise<void> {
    await this.#write(count, () => this.#set(this.#anyKey()))
  }

  /** Updates, creates and deletes, one in four, a round every `pauseMs`. */
  start(perRound: number, pauseMs: number): void {
    this.#stopped = false
    this.#running = this.#run(perRound, pauseMs)
  }

  /** Resolves when what was begun has been answered. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #run(perRound: number, pauseMs: number): Promise<void> {
    while (!this.#stopped) {
      await this.#write(perRound, () => {
        const key = this.#anyKey()
        return this.#options.random() < 0.25 ? this.#delete(key) : this.#set(key)
      })
      await new Promise(resolve => setTimeout(resolve, pauseMs))
    }
  }

  async #write(count: number, change: (index: number) => Promise<unknown>): Promise<void> {
    const { pipeline = 500 } = this.#options
    for (let done = 0; done < count; done += pipeline) {
      const size = Math.min(pipeline, count - done)
      await Promise.all(Array.from({ length: size }, (_, index) => change(done + index)))
    }
  }

  #anyKey(): string {
    return this.key(Math.floor(this.#options.random() * this.#options.keys))
  }

  #set(key: string): Promise<unknown> {
    const { kv, random, valueBytes } = this.#options
    const [least, most] = valueBytes
    const revision = ++this.#revision
    this.model.set(key, revision)
    this.updates++
    return kv.set(key, valueOf(key, revision, least + Math.floor(random() * (most - least + 1))))
  }

  async #delete(key: string): Promise<void> {
    if (!this.model.delete(key)) return
    this.deletes++
    await this.#options.kv.remove(key)
  }
}
