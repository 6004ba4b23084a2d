/**
 * Lets parked snapshots go: at their deadline, and earlier, oldest deadline first, where there
 * are more than the limits allow or where they hold more of the disk, or of its reader slots, than
 * the operator granted. In the last two cases those go, too, that have been received or sent whole and
 * are only not acknowledged yet, and only where it brings something.
 */
import type { Clock } from '../../clock.ts'
import type { Log } from '../../log.ts'
import type { Bucket } from '../../vbucket/bucket.ts'
import type { DcpCounters } from '../counters.ts'
import type { DcpSettings } from '../settings.ts'
import { oldestPins, pinnedBytes } from '../slow-streams.ts'
import { ReleaseCause, type ExpiryCause, type HeldSnapshot } from './held-snapshot.ts'
import { freeablePins, type FreeablePin } from './freeable.ts'
import { chooseExpired, type ParkedEntry } from './limits.ts'
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
    if (lot.parked.size > 0) {
      for (const { entry, cause } of chooseExpired(lot.parked, settings, clock.nowMs())) {
        this.#expire(entry, cause)
      }
    }
    this.#endReceived()
    this.#freePages()
    this.#report()
  }

  /**
   * Its client has all of it. It is kept for so long where the client may ask again from within it: at
   * most as many as may be parked, and before all that is parked it gives way.
   */
  received(held: HeldSnapshot, keepMs: number): void {
    const { lot, settings, clock } = this.#options
    const nowMs = clock.nowMs()
    if (keepMs === 0) return lot.release(held, ReleaseCause.received, nowMs)
    lot.keepReceived(held, nowMs, nowMs + keepMs)
    for (const oldest of lot.received) {
      if (lot.received.size <= settings.parkedMax) break
      lot.release(oldest, ReleaseCause.received, nowMs)
    }
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

  /** Makes sure that one more snapshot can be pinned for a vbucket. */
  makeRoom(bucket: Bucket, vbid: number): void {
    const { readerSlotsMax } = this.#options.settings
    const environment = bucket.snapshots.environmentOf(vbid)
    while (bucket.snapshots.pinnedIn(environment) >= readerSlotsMax) {
      if (!this.#freeOne(bucket, environment)) break
    }
    this.#report()
  }

  /** LMDB has no reader slot left, whatever was reckoned: frees one, if that is possible. */
  readersFull(bucket: Bucket, vbid: number): boolean {
    const environment = bucket.snapshots.environmentOf(vbid)
    const isFreed = this.#freeOne(bucket, environment)
    this.#report()
    return isFreed
  }

  /** One time holds for all of them: the oldest are due first. */
  #endReceived(): void {
    const { lot, clock } = this.#options
    const nowMs = clock.nowMs()
    for (const held of lot.received) {
      if (held.deadlineMs > nowMs) break
      lot.release(held, ReleaseCause.received, nowMs)
    }
  }

  #freeOne(bucket: Bucket, environment: number): boolean {
    const pins = freeablePins(this.#options.lot, bucket)
    const pin = pins.find(freeable => freeable.environment === environment)
    for (const held of pin?.held ?? []) this.#expire(held, ReleaseCause.readerSlotsMax)
    return pin !== undefined
  }

  /**
   * Only the oldest snapshot of an environment keeps pages from reuse: others stay, and so does one
   * that a stream is reading, which is not freed by giving up what else references it.
   */
  #freePages(): void {
    const { lot, settings } = this.#options
    const buckets = new Set(lot.all().map(held => held.bucket))
    while (pinnedBytes(buckets) > settings.pinnedBytesMax) {
      const candidates: FreeablePin[] = []
      for (const bucket of buckets) {
        const oldest = oldestPins(bucket)
        const held = bucket.snapshots.heldBytes()
        for (const pin of freeablePins(lot, bucket)) {
          const isOldest = oldest.get(pin.environment)?.snapshotId === pin.snapshotId
          if (isOldest && held[pin.environment]! > 0) candidates.push(pin)
        }
      }
      const [first] = candidates.sort((one, other) => one.deadlineMs - other.deadlineMs)
      if (first === undefined) return
      for (const held of first.held) this.#expire(held, ReleaseCause.pinnedBytesMax)
    }
  }

  #expire(held: HeldSnapshot, cause: ExpiryCause): void {
    const { lot, counters, clock } = this.#options
    lot.release(held, cause, clock.nowMs())
    if (held.receivedAtMs !== undefined) return
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
