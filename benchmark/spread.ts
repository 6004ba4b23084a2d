/** Several measurements of the same thing: the one in the middle, and how far they lie apart. */
import type { Verdict } from './benchmark.ts'

export interface Spread {
  readonly median: number
  readonly low: number
  readonly high: number
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), low: Math.min(...values), high: Math.max(...values) }
}

/** What was measured in the same round belongs together: ratios are taken there, then the median. */
export function ratioOf(values: readonly number[], others: readonly number[]): Spread {
  return spreadOf(values.map((value, round) => value / others[round]!))
}

export function ratio(
  figure: string,
  values: readonly number[],
  others: readonly number[],
  limit: Pick<Verdict, 'atLeast' | 'atMost'>,
): Verdict {
  return { figure, value: ratioOf(values, others), ...limit }
}
