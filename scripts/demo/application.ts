/**
 * The application whose data is being copied: it goes on changing and deleting documents while
 * the copy is made, and an operator whose purger removes tombstones as soon as it may.
 */
import type { KvClient } from '../../src/client/index.ts'
import type { City } from './cities.ts'

const requestsAtOnce = 1000

export class Application {
  /** What the bucket holds: the CAS of each document that lives. */
  readonly documents = new Map<string, bigint>()
  updates = 0
  deletes = 0
  readonly #kv: KvClient
  readonly #cities: readonly City[]
  #isStopped = false
  #running: Promise<unknown> = Promise.resolve()

  constructor(kv: KvClient, cities: readonly City[]) {
    this.#kv = kv
    this.#cities = cities
  }

  async load(): Promise<void> {
    for (let first = 0; first < this.#cities.length; first += requestsAtOnce) {
      const some = this.#cities.slice(first, first + requestsAtOnce)
      await Promise.all(some.map(city => this.#store(city)))
    }
  }

  /** Changes and deletes a few documents in every `intervalMs` until `stop`. */
  start(intervalMs: number, perInterval: number): void {
    this.#running = this.#run(intervalMs, perInterval)
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  async #run(intervalMs: number, perInterval: number): Promise<void> {
    // Steps through the data in an order that looks random and is the same in every run.
    let next = 0
    while (!this.#isStopped) {
      const some = Array.from({ length: perInterval }, () => {
        next = (next + 104_729) % this.#cities.length
        return this.#cities[next]!
      })
      await Promise.all(
        some.map((city, index) => (index % 2 ? this.#delete(city) : this.#store(city))),
      )
      await new Promise(resolve => setTimeout(resolve, intervalMs))
    }
  }

  async #store({ key, document }: City): Promise<void> {
    this.updates++
    const { cas } = await this.#kv.set(key, document)
    this.documents.set(key, cas)
  }

  async #delete({ key }: City): Promise<void> {
    if (!this.documents.delete(key)) return
    this.deletes++
    await this.#kv.remove(key)
  }
}

export class PurgeLoop {
  rounds = 0
  readonly #kv: KvClient
  readonly #vbuckets: number
  #isStopped = false
  #running: Promise<unknown> = Promise.resolve()

  constructor(kv: KvClient, vbuckets: number) {
    this.#kv = kv
    this.#vbuckets = vbuckets
  }

  start(): void {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    const vbids = Array.from({ length: this.#vbuckets }, (_, vbid) => vbid)
    while (!this.#isStopped) {
      await Promise.all(vbids.map(vbid => this.#kv.compact(vbid, { dropDeletes: true })))
      this.rounds++
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
}
