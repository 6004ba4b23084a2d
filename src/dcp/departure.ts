/**
 * A connection is gone: what its client may come back for is parked, a part of it in each turn of the
 * event loop, so that nobody waits while a thousand vbuckets are. Its client need not wait either:
 * what it asks for is parked at that moment (HeldSnapshot.parkNow).
 */
import type { Deliveries } from './deliveries.ts'
import type { ProducerCore } from './producer-core.ts'

/** They take a quarter of a millisecond. */
const vbucketsPerTurn = 64

export interface DepartureOptions {
  readonly producer: ProducerCore
  readonly deliveries: Deliveries
  /** The daemon stops, too: nothing is put off. */
  readonly isStopping: boolean
  /** All is parked; called at once if that is little. */
  readonly onParked: () => void
}

export class Departure {
  readonly #options: DepartureOptions
  #turn: NodeJS.Immediate | undefined

  constructor(options: DepartureOptions) {
    this.#options = options
    options.deliveries.leave(options.isStopping)
    this.#park()
    if (options.isStopping) this.finish()
  }

  /** Parks at once what is left. Idempotent. */
  finish(): void {
    if (this.#turn === undefined) return
    clearImmediate(this.#turn)
    this.#turn = undefined
    this.#options.deliveries.park()
    this.#end()
  }

  readonly #park = (): void => {
    this.#turn = undefined
    if (this.#options.deliveries.park(vbucketsPerTurn)) this.#turn = setImmediate(this.#park)
    else this.#end()
  }

  #end(): void {
    const { producer, deliveries, onParked } = this.#options
    const { parked: snapshots } = deliveries
    producer.counters.parked += snapshots
    if (snapshots > 0) {
      const graceSeconds = deliveries.graceMs / 1000
      producer.log.info({ snapshots, graceSeconds }, 'client is away: snapshots parked')
      producer.reaper.reap()
    }
    producer.reaper.limitHolds(producer.bucket)
    onParked()
  }
}
