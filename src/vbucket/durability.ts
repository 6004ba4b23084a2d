/**
 * How what was written gets durable soonest for those who wait: through the journal, or else by
 * the next commit. And how commits may be rare while the journal makes up for them.
 *
 * What the journal acknowledges LMDB has to take later. So the journal takes nothing while LMDB has
 * failed, nor what LMDB might not have room for. What it took before that was known is brought by
 * the next start, for which the limit of the map does not hold (journal-replay.ts).
 */
import type { Clock } from '../clock.ts'
import { Journal, type Stretch } from '../storage/journal.ts'
import type { Flusher } from '../storage/flusher.ts'
import type { Log } from '../log.ts'
import type { Random } from '../random.ts'
import type { ChangeLog } from './change-log.ts'
import { PersistenceWaiters } from './persistence.ts'
import { hasRoomForUnflushed, type Room } from './room.ts'
import type { Reached } from './position-waiters.ts'
import type { Vbucket } from './vbucket.ts'

/**
 * How often in a row a commit is put off that nobody waits for: half a minute. The more it has to
 * bring, the more of its changes fall into the same block, which is then written once for all of
 * them. Under a heavy load a file of the journal fills up first, and that ends the wait.
 */
const postponedMax = 300
/** So many times without a change: there is nothing to wait for. */
const quietMax = 5
/**
 * From how much on a commit is put off. A commit writes several pages for each change, and the journal
 * only the changes, but it takes 64 MiB of the disk: so it is not made for a burst of a few documents,
 * only for many of them, or for `steadyIntervals` in a row with some.
 */
const postponedBytesMin = { withJournal: 1024, steady: 4 * 1024, burst: 64 * 1024 } as const
const steadyIntervals = 10
/** More than that since the last time are large values: a commit of them is not dear. */
const postponedGrowthBytesMax = 8 * 2 ** 20

export interface DurabilityOptions {
  readonly directory: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly changes: ChangeLog
  readonly flusher: () => Flusher
  readonly vbucket: (vbid: number) => Vbucket | undefined
  readonly settings: { readonly mapSizeBytes: number }
  /** What LMDB takes now. */
  readonly room: () => Room
}

export class Durability {
  readonly waiters: PersistenceWaiters
  readonly #options: DurabilityOptions
  readonly #journal: Journal
  /** Somebody has waited since this was last asked. */
  #isInUse = false
  #postponed = 0
  /** Intervals in a row that have brought something, while there is no journal. */
  #steady = 0
  /** How often in a row it was put off although nothing had been added. */
  #quiet = 0
  /** Bytes that were not in LMDB when a commit was put off last. */
  #postponedBytes = 0

  constructor(options: DurabilityOptions) {
    const { changes, flusher } = options
    this.#options = options
    this.waiters = new PersistenceWaiters(changes)
    const hurry = () => flusher().hurry()
    this.#journal = new Journal({
      ...options,
      stretchFrom: position => this.#stretchFrom(position),
      committed: () => changes.committed,
      isAwaited: () => this.waiters.isDurableAwaited,
      onDurable: position => this.waiters.durable(position),
      onRefused: hurry,
      onFilling: hurry,
    })
  }

  /** Calls `done` once everything appended so far would survive a crash, or with an error. */
  afterDurable(done: Reached): void {
    this.#isInUse = true
    this.waiters.afterDurable(done)
    this.#journal.request()
  }

  /** Calls `done` once everything appended so far is in LMDB. */
  afterCommit(done: () => void): void {
    this.waiters.afterCommit(done)
    this.#options.flusher().hurry()
  }

  /** Everything before this position is in LMDB. */
  committed(position: number): void {
    this.#postponed = 0
    this.#quiet = 0
    this.#postponedBytes = 0
    this.waiters.committed(position)
  }

  /**
   * Whether a commit that nobody waits for may be put off once more: the journal makes durable what
   * has gathered, for less, and a commit of many changes takes fewer pages for each.
   */
  postponesCommit(): boolean {
    const { unflushedBytes } = this.#options.changes
    const growthBytes = unflushedBytes - this.#postponedBytes
    const pays = this.#isInUse || this.#isMuch(unflushedBytes)
    this.#isInUse = false
    if (!pays || this.#postponed >= postponedMax) return false
    if (growthBytes > postponedGrowthBytesMax) return false
    this.#quiet = growthBytes === 0 ? this.#quiet + 1 : 0
    if (this.#quiet > quietMax) return false
    this.#postponedBytes = unflushedBytes
    // At its first use it has to be made ready, and something else does it meanwhile.
    this.#journal.request()
    if (!this.#journal.isReady) return false
    this.#postponed++
    return true
  }

  #isMuch(unflushedBytes: number): boolean {
    const { withJournal, steady, burst } = postponedBytesMin
    if (this.#journal.isReady) return unflushedBytes >= withJournal
    this.#steady = unflushedBytes >= steady ? this.#steady + 1 : 0
    return unflushedBytes >= burst || this.#steady >= steadyIntervals
  }

  /** `isCommitted`: everything is in LMDB. Who still waits is told `error`. */
  async close(isCommitted: boolean, error: Error): Promise<void> {
    await this.#journal.close(isCommitted)
    this.waiters.close(error)
  }

  /** Undefined while only a commit may acknowledge what there is. */
  #stretchFrom(position: number): Stretch | undefined {
    const { changes, vbucket } = this.#options
    const flusher = this.#options.flusher()
    // Which history a change belongs to, LMDB has to know first.
    if (flusher.changesVbuckets || flusher.failure !== undefined || !this.#hasRoom())
      return undefined
    const { entries, vbids } = changes.stretchFrom(position)
    const vbuuids: bigint[] = []
    for (const vbid of vbids) {
      const vbuuid = vbucket(vbid)?.failoverLog.vbuuid
      if (vbuuid === undefined) return undefined
      vbuuids.push(vbuuid)
    }
    return { entries, upTo: changes.end, vbids, vbuuids }
  }

  #hasRoom(): boolean {
    const { changes, settings, room } = this.#options
    return hasRoomForUnflushed(changes.unflushedBytes, settings.mapSizeBytes, room())
  }
}
