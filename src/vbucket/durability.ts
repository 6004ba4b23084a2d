/**
 * Who waits for what was written to be durable, and how it gets there soonest: through the
 * journal, or else by the next commit.
 */
import { Journal, type Stretch } from '../storage/journal.ts'
import type { Flusher } from '../storage/flusher.ts'
import type { Log } from '../log.ts'
import type { Random } from '../random.ts'
import type { ChangeLog } from './change-log.ts'
import { PersistenceWaiters } from './persistence.ts'
import type { Vbucket } from './vbucket.ts'

export interface DurabilityOptions {
  readonly directory: string
  readonly changes: ChangeLog
  readonly random: Random
  readonly log: Log
  readonly flusher: () => Flusher
  readonly vbucket: (vbid: number) => Vbucket | undefined
}

export class Durability {
  readonly waiters: PersistenceWaiters
  readonly #options: DurabilityOptions
  readonly #journal: Journal

  constructor(options: DurabilityOptions) {
    const { directory, random, log, changes, flusher } = options
    this.#options = options
    this.waiters = new PersistenceWaiters(changes)
    this.#journal = new Journal({
      directory,
      random,
      log,
      stretchFrom: position => this.#stretchFrom(position),
      committed: () => changes.committed,
      onDurable: position => this.waiters.durable(position),
      onRefused: () => flusher().hurry(),
    })
  }

  /** Calls `done` once everything appended so far would survive a crash. */
  afterAppended(done: () => void): void {
    this.waiters.afterAppended(done)
    this.#journal.request()
  }

  /** `isCommitted`: everything is in LMDB. Who still waits is told `error`. */
  async close(isCommitted: boolean, error: Error): Promise<void> {
    await this.#journal.close(isCommitted)
    this.waiters.close(error)
  }

  /** Undefined while only a commit can tell which history the changes belong to. */
  #stretchFrom(position: number): Stretch | undefined {
    const { changes, flusher, vbucket } = this.#options
    if (flusher().changesVbuckets) return undefined
    const { entries, vbids } = changes.stretchFrom(position)
    const vbuuids = new Map<number, bigint>()
    for (const vbid of vbids) {
      const vbuuid = vbucket(vbid)?.failoverLog.vbuuid
      if (vbuuid === undefined) return undefined
      vbuuids.set(vbid, vbuuid)
    }
    return { entries, upTo: changes.end, vbuuids }
  }
}
