/** What a case is, and what it is given. A case is a file in `cases/` that exports one. */
import type { Need } from './requirements.ts'
import type { Spread } from './spread.ts'

export interface Benchmark {
  /** As `--case` names it. */
  readonly name: string
  /** One sentence: what is measured against what. */
  readonly about: string
  /** Programs and headers not of ours; a case does not begin without them. */
  readonly needs: readonly Need[]
  /** About how long it takes on the machine of the stored results, for whoever waits. */
  readonly minutes: number
  run(context: Context): Promise<Outcome>
}

export interface Context {
  /** An empty folder, removed afterwards; its disk is what is measured. */
  readonly folder: string
  /** Fewer documents and shorter windows: to try a case out, not to measure. */
  readonly quick: boolean
  /** The binary that runs the daemon. */
  readonly node: string
  /** Where daemons leave a CPU profile, if they are to. */
  readonly profiles: string | undefined
  /** One line for whoever waits. */
  progress(line: string): void
  /** Called when the case is over, however it ended; the last one first. */
  cleanUp(end: () => Promise<unknown> | void): void
}

export type Cell = string | number | Spread

/** Rows of a table; numbers are shown with as many digits as they deserve. */
export type Row = Readonly<Record<string, Cell>>

export interface Outcome {
  /** What was asked for: counts, sizes, rates. */
  readonly settings: Readonly<Record<string, string | number>>
  readonly rows: readonly Row[]
  /** The column that the plot shows, a bar for each row. */
  readonly plot: string
  /** What the figures come to, each against what is wanted. */
  readonly verdicts: readonly Verdict[]
}

export interface Verdict {
  readonly figure: string
  readonly value: Spread
  /** At most, or at least, this. */
  readonly atMost?: number
  readonly atLeast?: number
}

export function isMet({ value, atMost = Infinity, atLeast = -Infinity }: Verdict): boolean {
  return value.median <= atMost && value.median >= atLeast
}

/** What is wanted of a verdict, in words. */
export function wanted({ atMost, atLeast }: Verdict): string {
  if (atMost === undefined) return `at least ${atLeast}`
  return `at most ${atMost}`
}
