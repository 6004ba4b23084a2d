import { VbucketState } from '../../protocol/vbucket-state.ts'
import { KvClient, ServerError } from '../../src/client/index.ts'
import { vbucketCount } from './corpus.ts'
import { FuzzFailure } from './lane.ts'

const checkEveryMs = 50
const mendEveryMs = 500
const bucket = 'watched-by-the-guard'
/** What backfills have to read: more than the change log holds. */
const documents = 2_000
const documentBytes = 4_000

/**
 * A client that behaves, in a bucket of its own: what it writes it has to read again in time,
 * whatever others send. It also mends what they are allowed to break, vbuckets that are not
 * active, the default bucket and what is in it, so that requests go on getting somewhere.
 */
export class Guard {
  rounds = 0
  slowestMs = 0
  readonly #client: KvClient
  readonly #mender: KvClient
  readonly #deadlineMs: number

  static async start(port: number, deadlineMs: number): Promise<Guard> {
    const options = { port, requestTimeoutMs: deadlineMs }
    const mender = await KvClient.connect(options)
    await mender.createBucket(bucket)
    return new Guard(await KvClient.connect({ ...options, bucket }), mender, deadlineMs)
  }

  private constructor(client: KvClient, mender: KvClient, deadlineMs: number) {
    this.#client = client
    this.#mender = mender
    this.#deadlineMs = deadlineMs
  }

  async run(isOver: () => boolean): Promise<void> {
    await Promise.all([
      repeat(checkEveryMs, isOver, () => this.#check()),
      repeat(mendEveryMs, isOver, () => this.#mend().catch(unlessRefused)),
    ])
    await this.#check()
  }

  close(): void {
    this.#client.destroy()
    this.#mender.destroy()
  }

  async #check(): Promise<void> {
    this.rounds++
    const key = `guard-${this.rounds % 100}`
    const value = `round ${this.rounds}`
    const startedMs = performance.now()
    try {
      await this.#client.set(key, value)
      const found = (await this.#client.get(key))?.value.toString()
      if (found !== value) throw new FuzzFailure(`${key} is ${found} instead of ${value}`)
    } catch (cause) {
      if (cause instanceof FuzzFailure) throw cause
      const message = `a well-behaved client was not served within ${this.#deadlineMs} ms`
      throw new FuzzFailure(message, { cause })
    }
    this.slowestMs = Math.max(this.slowestMs, performance.now() - startedMs)
  }

  async #mend(): Promise<void> {
    const mender = this.#mender
    const buckets = await mender.listBuckets()
    if (!buckets.includes('default')) {
      // There may be as many as there can be.
      for (const name of buckets) if (name !== bucket) await mender.deleteBucket(name)
      await mender.createBucket('default')
    }
    await mender.selectBucket('default')
    const active = await mender.allVbSeqnos(VbucketState.active)
    for (let vbid = 0; vbid < vbucketCount; vbid++) {
      if (!active.has(vbid)) await mender.setVbucketState(vbid, VbucketState.active)
    }
    if ((await mender.get('document-0')) === undefined) await this.#fill()
  }

  async #fill(): Promise<void> {
    const value = Buffer.alloc(documentBytes, 'f')
    const sets = Array.from({ length: documents }, (_, index) =>
      // Refused where a vbucket is not active again, or the disk is too far behind.
      this.#mender.set(`document-${index}`, value).catch(unlessRefused),
    )
    await Promise.all(sets)
  }
}

/** What is being mended may be broken again before it is whole. */
function unlessRefused(error: unknown): void {
  if (!(error instanceof ServerError)) throw error
}

async function repeat(everyMs: number, isOver: () => boolean, act: () => Promise<void>) {
  while (!isOver()) {
    await act()
    await new Promise(resolve => setTimeout(resolve, everyMs))
  }
}
