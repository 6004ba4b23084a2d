/**
 * Counts of what was answered and how long it took: plain arrays that the hot path adds to and the
 * metrics read when they are scraped.
 */

/** Statuses beyond one byte are reserved for applications; they share the last place. */
export const statusPlaces = 256

/** Place n of a histogram counts durations below 2^n microseconds that are not in place n - 1. */
export const latencyPlaces = 32

export class OperationCounters {
  /** Answers: `[opcode * statusPlaces + status]`. */
  readonly answers = new Float64Array(256 * statusPlaces)
  /** Durations, estimated from those timed: `[opcode * latencyPlaces + place]`. */
  readonly latencies = new Float64Array(256 * latencyPlaces)
  /** Sum of the durations by opcode, estimated likewise, in milliseconds. */
  readonly latencySumMs = new Float64Array(256)
  bytesRead = 0
  bytesWritten = 0
  connectionsAccepted = 0
  connectionsRefused = 0
  /** Closed because their clients did not log in, or left a request half sent, for too long. */
  connectionsLate = 0
  /** Frames that did not name a command: malformed, too large, of an unknown opcode. */
  framesRefused = 0

  count(opcode: number, status: number): void {
    const place = opcode * statusPlaces + (status < statusPlaces ? status : statusPlaces - 1)
    this.answers[place] = this.answers[place]! + 1
  }

  /** `weight`: how many requests this one stands for, if not all of them are timed. */
  time(opcode: number, durationMs: number, weight: number): void {
    const place = opcode * latencyPlaces + latencyPlace(durationMs)
    this.latencies[place] = this.latencies[place]! + weight
    this.latencySumMs[opcode] = this.latencySumMs[opcode]! + durationMs * weight
  }

  /** Answers with any status. */
  answersOf(opcode: number): number {
    let sum = 0
    for (let status = 0; status < statusPlaces; status++) sum += this.answer(opcode, status)
    return sum
  }

  answer(opcode: number, status: number): number {
    return this.answers[opcode * statusPlaces + status]!
  }
}

/** The place of a duration in a histogram of powers of two. */
export function latencyPlace(durationMs: number): number {
  const place = 32 - Math.clz32(Math.min(durationMs * 1000, 2 ** 31))
  return place < latencyPlaces ? place : latencyPlaces - 1
}
