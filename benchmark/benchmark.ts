/** What a case is, and what it is given. A case is a file in `cases/` that exports one. */

export interface Benchmark {
  /** As `--only` names it. */
  readonly name: string
  /** One sentence: what is measured against what. */
  readonly about: string
  run(context: Context): Promise<Outcome>
}

export interface Context {
  /** An empty folder, removed afterwards; its disk is what is measured. */
  readonly folder: string
  /** Fewer documents and shorter windows: to try a case out, not to measure. */
  readonly quick: boolean
  /** One line for whoever waits. */
  progress(line: string): void
  /** Called when the case is over, however it ended; the last one first. */
  cleanUp(end: () => Promise<unknown> | void): void
}

/** Rows of a table; numbers are shown with as many digits as they deserve. */
export type Row = Readonly<Record<string, string | number>>

export interface Outcome {
  /** What was asked for: counts, sizes, rates. */
  readonly settings: Row
  readonly rows: readonly Row[]
  /** What the figures come to, each against what is wanted. */
  readonly verdicts: readonly Verdict[]
}

export interface Verdict {
  readonly figure: string
  readonly value: number
  /** At most, or at least, this. */
  readonly atMost?: number
  readonly atLeast?: number
}

export function isMet({ value, atMost = Infinity, atLeast = -Infinity }: Verdict): boolean {
  return value <= atMost && value >= atLeast
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}
