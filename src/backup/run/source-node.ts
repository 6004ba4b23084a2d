import { Backoff, type KvClient } from '../../client/index.ts'
import type { Clock } from '../../clock.ts'
import { systemRandom } from '../../random.ts'
import type { BucketAddress } from '../bucket-address.ts'
import { connectToBucket, isConnectionLoss } from '../connect.ts'
import { pause } from '../pause.ts'

/** Within some twenty seconds; what a stream lives through may be longer. */
const attemptsMax = 12

interface SourceNodeOptions {
  readonly address: BucketAddress
  readonly clock: Clock
  readonly signal: AbortSignal
}

/**
 * The node that is backed up, for questions, which are asked again over a new connection when one is
 * lost: between the first and the last of them a stream may have lived through many losses.
 */
export class SourceNode {
  readonly #options: SourceNodeOptions
  #client: KvClient | undefined
  #connecting: Promise<KvClient> | undefined
  #wasConnected = false
  #closed = false

  constructor(options: SourceNodeOptions) {
    this.#options = options
  }

  /** `question` changes nothing: it may be asked, and even answered, more than once. */
  ask<T>(question: (client: KvClient) => Promise<T>): Promise<T> {
    return this.persist(async () => question(await this.#connected()))
  }

  /**
   * Does `work` again if a connection was lost under it; but not before there has been one: a wrong
   * address should be told at once.
   */
  async persist<T>(work: () => Promise<T>): Promise<T> {
    const { clock, signal } = this.#options
    const backoff = new Backoff(systemRandom)
    for (;;) {
      signal.throwIfAborted()
      try {
        return await work()
      } catch (error) {
        if (!isConnectionLoss(error) || !this.#wasConnected) throw error
        if (backoff.attempts >= attemptsMax - 1) throw error
        // One that does not answer is as good as none.
        if (error.code === 'HOLDFAST_TIMEOUT') this.#client?.destroy()
        await pause(clock, backoff.nextMs(), signal)
      }
    }
  }

  /** A connection that is still being made is dropped when it is there. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#client?.close()
  }

  async #connected(): Promise<KvClient> {
    if (this.#client?.isOpen) return this.#client
    this.#connecting ??= this.#connect().finally(() => (this.#connecting = undefined))
    return await this.#connecting
  }

  async #connect(): Promise<KvClient> {
    // How far a vbucket is then means all that is in it.
    const options = { collections: true }
    this.#client = await connectToBucket(this.#options.address, 'holdfast backup', options)
    if (this.#closed) this.#client.destroy()
    this.#wasConnected = true
    return this.#client
  }
}
