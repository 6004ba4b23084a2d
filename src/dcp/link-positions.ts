import type { Positions } from './deliveries.ts'
import type { FlowControl } from './flow-control.ts'
import type { NoopTimer } from './noop.ts'
import type { Outbox } from './outbox.ts'

/** The parts of a connection that know how far its bytes have come. */
export interface Link {
  readonly flow: FlowControl
  readonly noop: NoopTimer
  readonly outbox: Outbox
  readonly streams: { readonly size: number }
}

export class LinkPositions implements Positions {
  readonly #link: Link

  constructor(link: Link) {
    this.#link = link
  }

  get sent(): number {
    return this.#link.flow.sentBytes
  }

  get window(): number {
    return this.#link.flow.window
  }

  /** Answers to commands may be queued too: rather too few bytes count as taken. */
  get taken(): number {
    const { flow, outbox } = this.#link
    return Math.max(0, flow.sentBytes - outbox.queuedBytes)
  }

  get acked(): number {
    return this.#link.flow.receivedPosition
  }

  /** Without streams no no-ops are sent: then time alone has to do. */
  get answered(): number {
    const { noop, streams } = this.#link
    return noop.enabled && streams.size > 0 ? noop.answeredPosition : Infinity
  }
}
