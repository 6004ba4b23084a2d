import type { Bucket } from '../vbucket/bucket.ts'

/** A connection that has written to a bucket that cannot keep up. */
export interface Writer {
  /** Writes may be read again. */
  relieve(): void
}

/**
 * Remembers whose sockets are not read because a bucket's disk lags behind, and lets them go on
 * when the bucket says so.
 */
export class WritePressure {
  readonly #waiting = new Map<Bucket, Set<Writer>>()

  get waiting(): number {
    let count = 0
    for (const writers of this.#waiting.values()) count += writers.size
    return count
  }

  /** Makes the writer wait if the bucket's disk lags behind; false when there is no need. */
  wait(bucket: Bucket, writer: Writer): boolean {
    if (!isWorthWaiting(bucket)) return false
    let writers = this.#waiting.get(bucket)
    if (writers === undefined) {
      writers = new Set()
      this.#waiting.set(bucket, writers)
      bucket.onPressure(() => this.#relieve(bucket))
    }
    writers.add(writer)
    return true
  }

  forget(bucket: Bucket, writer: Writer): void {
    this.#waiting.get(bucket)?.delete(writer)
  }

  /** The bucket is gone: nobody has to wait for it. */
  drop(bucket: Bucket): void {
    const writers = this.#waiting.get(bucket)
    this.#waiting.delete(bucket)
    for (const writer of writers ?? []) writer.relieve()
  }

  #relieve(bucket: Bucket): void {
    const writers = this.#waiting.get(bucket)
    if (writers === undefined || isWorthWaiting(bucket)) return
    const relieved = [...writers]
    writers.clear()
    for (const writer of relieved) writer.relieve()
  }
}

/**
 * A disk that lags behind catches up. One that is full takes nothing until a person makes room:
 * the bucket refuses writes then, and whoever writes has to be told, and may still read.
 */
function isWorthWaiting(bucket: Bucket): boolean {
  return bucket.pressure !== 'none' && bucket.failure === undefined
}
