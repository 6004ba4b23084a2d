/** Each bucket is this much wider than the one before: the error of any percentile is below 2 %. */
const growth = 1.02
const bucketCount = 1200
const logGrowth = Math.log(growth)

/** Durations in microseconds, from 1 to some hours, in buckets that grow with them. */
export class Histogram {
  readonly #counts = new Float64Array(bucketCount)
  count = 0
  max = 0

  add(microseconds: number): void {
    const bucket = microseconds <= 1 ? 0 : Math.floor(Math.log(microseconds) / logGrowth)
    this.#counts[Math.min(bucket, bucketCount - 1)]!++
    this.count++
    if (microseconds > this.max) this.max = microseconds
  }

  /** The duration that the share `fraction` of all did not exceed. */
  percentile(fraction: number): number {
    const wanted = Math.ceil(this.count * fraction)
    let seen = 0
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      seen += this.#counts[bucket]!
      if (seen >= wanted) return growth ** (bucket + 0.5)
    }
    return this.max
  }
}
