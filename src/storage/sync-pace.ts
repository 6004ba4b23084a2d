/**
 * Decides on which thread the journal is written when clients wait for it. A disk of today syncs
 * a block in less time than it takes to hand the errand to another thread and the answer back, and
 * what comes in meanwhile makes one larger group instead of many small ones: so the main thread
 * writes by itself. It serves nobody else meanwhile. So when the disk turns out to be slow, the
 * thread pool does the next writes, before the main thread tries again.
 */
const slowMs = 1
/** What a single write weighs in the average: few are slow because LMDB syncs at that moment. */
const weight = 1 / 16
const writesAside = 20

export class SyncPace {
  #averageMs = 0
  #aside = 0

  /** Asked before each write. */
  isQuick(): boolean {
    if (this.#aside === 0) return true
    this.#aside--
    return false
  }

  /** A write by the main thread took so long. */
  took(durationMs: number): void {
    this.#averageMs += (durationMs - this.#averageMs) * weight
    if (this.#averageMs <= slowMs) return
    // At the next attempt a single slow one suffices.
    this.#averageMs = slowMs
    this.#aside = writesAside
  }
}
