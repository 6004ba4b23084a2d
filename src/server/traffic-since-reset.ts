import type { Traffic } from '../commands/node.ts'
import { latencyPlaces, OperationCounters } from './operation-counters.ts'

/**
 * What STAT shows. Any client may set that back; what the metrics read goes on, so that nobody
 * disturbs the operator's graphs.
 */
export class TrafficSinceReset implements Traffic {
  readonly #now: OperationCounters
  /** What had been counted at the last reset. */
  readonly #before = new OperationCounters()

  constructor(counters: OperationCounters) {
    this.#now = counters
  }

  get bytesRead(): number {
    return this.#now.bytesRead - this.#before.bytesRead
  }
  get bytesWritten(): number {
    return this.#now.bytesWritten - this.#before.bytesWritten
  }
  get connectionsAccepted(): number {
    return this.#now.connectionsAccepted
  }
  get connectionsRefused(): number {
    return this.#now.connectionsRefused
  }

  answer(opcode: number, status: number): number {
    return this.#now.answer(opcode, status) - this.#before.answer(opcode, status)
  }

  answersOf(opcode: number): number {
    return this.#now.answersOf(opcode) - this.#before.answersOf(opcode)
  }

  latenciesOf(opcode: number): number[] {
    const start = opcode * latencyPlaces
    const before = this.#before.latencies
    const now = this.#now.latencies.subarray(start, start + latencyPlaces)
    return Array.from(now, (count, place) => count - before[start + place]!)
  }

  reset(): void {
    this.#before.answers.set(this.#now.answers)
    this.#before.latencies.set(this.#now.latencies)
    this.#before.bytesRead = this.#now.bytesRead
    this.#before.bytesWritten = this.#now.bytesWritten
  }
}
