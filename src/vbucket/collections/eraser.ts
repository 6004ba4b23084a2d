/**
 * Removes from disk what dropped collections held, vbucket by vbucket, a bounded batch at a time.
 * It takes up again what a stop has cut short.
 */
import type { Log } from '../../log.ts'
import type { Flusher } from '../../storage/flusher.ts'
import type { Vbucket } from '../vbucket.ts'
import type { VbucketTable } from '../vbucket-table.ts'

/** Records looked at in one transaction. */
const batchMax = 5000

export interface EraserOptions {
  flusher: Flusher
  vbuckets: VbucketTable
  log: Log
}

export class Eraser {
  readonly #options: EraserOptions
  #running: Promise<void> | undefined
  #isStopped = false
  /** Something was dropped since the pass under way has begun. */
  #isAgain = false
  /** Documents and tombstones removed since the start. */
  erased = 0

  constructor(options: EraserOptions) {
    this.#options = options
  }

  /** Something may have to be removed. */
  wake(): void {
    if (this.#isStopped) return
    this.#isAgain = true
    this.#running ??= this.#run()
      .catch((error: unknown) => {
        const { log } = this.#options
        if (!this.#isStopped) log.error({ error: String(error) }, 'erasing a collection failed')
      })
      .finally(() => (this.#running = undefined))
  }

  /** What is under way ends with the batch that is being written. */
  stop(): void {
    this.#isStopped = true
  }

  async ended(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    while (this.#isAgain) {
      this.#isAgain = false
      for (const vbucket of this.#options.vbuckets) await this.#erase(vbucket)
    }
  }

  async #erase(vbucket: Vbucket): Promise<void> {
    const { flusher, vbuckets } = this.#options
    const { id: vbid } = vbucket
    const collections = new Map(vbucket.collections.doomed)
    let afterSeqno = 0
    let isDone = collections.size === 0
    // One that was deleted or emptied meanwhile is another vbucket now, with other collections.
    while (!isDone && !this.#isStopped && vbuckets.get(vbid) === vbucket) {
      const request = { vbid, collections, afterSeqno, countMax: batchMax }
      const { removed, lastSeqno, done } = await flusher.erase(request, result =>
        vbucket.erased(result),
      )
      this.erased += removed
      afterSeqno = lastSeqno
      isDone = done
      if (done) vbucket.collections.erased(collections.keys())
    }
  }
}
