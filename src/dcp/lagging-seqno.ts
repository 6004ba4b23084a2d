/**
 * A seqno as it was a while ago. Where it moves often, only some of its steps are kept: what is told
 * may be older than asked for by an eighth, never newer.
 */
const stepsPerLag = 8

interface Step {
  seqno: number
  atMs: number
}

export class LaggingSeqno {
  readonly #lagMs: number
  /** Oldest first; at least one. */
  readonly #steps: Step[]

  constructor(lagMs: number, seqno: number, nowMs: number) {
    this.#lagMs = lagMs
    this.#steps = [{ seqno, atMs: nowMs }]
  }

  /** It never moves back. */
  move(seqno: number, nowMs: number): void {
    const before = this.#steps.at(-2)
    if (before !== undefined && nowMs - before.atMs < this.#lagMs / stepsPerLag) this.#steps.pop()
    this.#steps.push({ seqno, atMs: nowMs })
    this.#forget(nowMs)
  }

  /** What it was within this snapshot counts as its end. */
  pass({ snapshotStart, snapshotEnd }: { snapshotStart: number; snapshotEnd: number }): void {
    for (const step of this.#steps) {
      if (step.seqno >= snapshotStart && step.seqno < snapshotEnd) step.seqno = snapshotEnd
    }
  }

  /** What it was, or what it was before that. */
  at(nowMs: number): number {
    this.#forget(nowMs)
    return this.#steps[0]!.seqno
  }

  #forget(nowMs: number): void {
    while (this.#steps.length > 1 && this.#steps[1]!.atMs + this.#lagMs <= nowMs)
      this.#steps.shift()
  }
}
