/**
 * Positions of a vbucket's changes in the log by seqno: a ring over a gapless run of seqnos.
 * It grows by doubling and forgets from the front.
 */
import { invariant } from '../errors.ts'

export class SeqnoRun {
  /** Seqno of the first change held; meaningless when `length` is 0. */
  first = 1
  length = 0
  #positions = new Float64Array(16)
  #head = 0

  push(seqno: number, position: number): void {
    if (this.length === 0) this.first = seqno
    invariant(seqno === this.first + this.length, 'seqnos are allocated without gaps')
    if (this.length === this.#positions.length) this.#grow()
    this.#positions[(this.#head + this.length) & (this.#positions.length - 1)] = position
    this.length++
  }

  /** -1 when the seqno is not held. */
  positionOf(seqno: number): number {
    const index = seqno - this.first
    if (index < 0 || index >= this.length) return -1
    return this.#positions[(this.#head + index) & (this.#positions.length - 1)]!
  }

  /** How many of the changes held stand before `position`. */
  countBefore(position: number): number {
    let low = 0
    let high = this.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.positionOf(this.first + middle) < position) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Forgets everything up to and with `seqno`, if it is what stands at `position`. */
  dropThrough(seqno: number, position: number): void {
    // A vbucket that was deleted and made again has the same seqnos at other positions.
    if (this.positionOf(seqno) !== position) return
    const count = seqno - this.first + 1
    this.#head = (this.#head + count) & (this.#positions.length - 1)
    this.first += count
    this.length -= count
  }

  #grow(): void {
    const grown = new Float64Array(this.#positions.length * 2)
    for (let i = 0; i < this.length; i++) {
      grown[i] = this.#positions[(this.#head + i) & (this.#positions.length - 1)]!
    }
    this.#positions = grown
    this.#head = 0
  }
}
