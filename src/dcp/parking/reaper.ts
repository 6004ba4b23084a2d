/**
 * Lets parked snapshots go: at their deadline, and earlier, oldest deadline first, where there
 * are more than the limits allow or where they hold more of the disk, or of its reader slots, than
 * the operator granted.
 */
import type { Clock } from '../../clock.ts'
import type { Log } from '../../log.ts'
import type { PinSummary } from '../../storage/snapshots.ts'
import type { Bucket } from '../../vbucket/bucket.ts'
import type { DcpCounters } from '../counters.ts'
import type { DcpSettings } from '../settings.ts'
import { ReleaseCause, type ExpiryCause, type HeldSnapshot } from './held-snapshot.ts'
import { byDeadline, chooseExpired, type ParkedEntry } from './limits.ts'
import type { ParkingLot } from './parking-lot.ts'

export interface ReaperOptions {
  lot: ParkingLot
  settings: DcpSettings
  clock: Clock
  log: Log
  counters: DcpCounters
}

export class Reaper {
  readonly #options: ReaperOptions
  readonly #gone = new Map<ExpiryCause, HeldSnapshot[]>()

  constructor(options: ReaperOptions) {
    this.#options = options
  }

  /** Applies deadlines and limits. Cheap when nothing is parked. */
  reap(): void {
    const { lot, settings, clock } = this.#options
    if (lot.parked.size === 0) return
    for (const { entry, cause } of chooseExpired(lot.parked, settings, clock.nowMs())) {
      this.#expire(entry, cause)
    }
    this.#freePages()
    this.#report()
  }

  /**
   * What clients that are away are known to have holds for the grace whether or not a snapshot of
   * theirs is parked: the same limits bound how many such holds there are.
   */
  limitHolds(bucket: Bucket): void {
    const { settings, clock, log } = this.#options
    const away: (ParkedEntry & { vbid: number })[] = []
    for (const { vbid, holder, deadlineMs, durable } of bucket.holds.list()) {
      if (!durable || deadlineMs === null) continue
      away.push({ client: holder, place: String(vbid), deadlineMs, vbid })
    }
    const { parkedMax, parkedPerClientMax } = settings
    if (away.length <= Math.min(parkedMax, parkedPerClientMax)) return
    const gone = chooseExpired(away, settings, clock.nowMs())
    for (const { entry } of gone) bucket.holds.release(entry.vbid, entry.client)
    if (gone.length > 0) {
      log.info({ bucket: bucket.name, holds: gone.length }, 'purge holds of absent clients let go')
    }
  }

  /** Makes sure that one more snapshot can be pinned in each environment of a bucket. */
  makeRoom(bucket: Bucket): void {
    const { lot, settings } = this.#options
    if (lot.parked.size === 0) return
    for (;;) {
      const full = fullEnvironment(bucket.snapshots.pins(), settings.readerSlotsMax)
      if (full === undefined) break
      const held = byDeadline(lot.parked).find(
        parked => parked.bucket === bucket && full.has(parked.reference.snapshot.snapshotId),
      )
      if (held === undefined) break
      this.#expire(held, ReleaseCause.readerSlotsMax)
    }
    this.#report()
  }

  #freePages(): void {
    const { lot, settings } = this.#options
    const buckets = new Set<Bucket>()
    for (const held of lot.parked) buckets.add(held.bucket)
    const pinnedBytes = () => {
      let bytes = 0
      for (const bucket of buckets) bytes += bucket.snapshots.pinnedBytes()
      return bytes
    }
    if (pinnedBytes() <= settings.pinnedBytesMax) return
    for (const held of byDeadline(lot.parked)) {
      this.#expire(held, ReleaseCause.pinnedBytesMax)
      if (pinnedBytes() <= settings.pinnedBytesMax) return
    }
  }

  #expire(held: HeldSnapshot, cause: ExpiryCause): void {
    const { lot, counters, clock } = this.#options
    lot.release(held, cause, clock.nowMs())
    counters.expired[cause]++
    const gone = this.#gone.get(cause)
    if (gone === undefined) this.#gone.set(cause, [held])
    else gone.push(held)
  }

  /** One line for each client and cause, not one for each of its vbuckets. */
  #report(): void {
    for (const [cause, gone] of this.#gone) {
      const clients = new Map<string, number[]>()
      for (const { client, vbid } of gone) {
        const vbids = clients.get(client)
        if (vbids === undefined) clients.set(client, [vbid])
        else vbids.push(vbid)
      }
      for (const [client, vbids] of clients) {
        const fields = { client, cause, snapshots: vbids.length, vbids: vbids.slice(0, 16) }
        this.#options.log.info(fields, 'parked snapshots expired')
      }
    }
    this.#gone.clear()
  }
}

/** The snapshots of an environment that has no room for another; undefined: there is none such. */
function fullEnvironment(pins: readonly PinSummary[], max: number): Set<number> | undefined {
  const environments = new Map<number, Set<number>>()
  for (const { environment, snapshotId } of pins) {
    const ids = environments.get(environment)
    if (ids === undefined) environments.set(environment, new Set([snapshotId]))
    else ids.add(snapshotId)
  }
  for (const ids of environments.values()) if (ids.size >= max) return ids
  return undefined
}
