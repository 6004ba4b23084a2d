import type { Surroundings } from './surroundings.ts'

/** A line that changes in place, where somebody sees it: on a terminal. */
export class StatusLine {
  readonly #stream: Surroundings['stderr']
  #isOpen = false

  constructor(stream: Surroundings['stderr']) {
    this.#stream = stream
  }

  show(text: string): void {
    if (!this.#stream.isTTY) return
    this.#stream.write(`\r\x1b[K${text}`)
    this.#isOpen = true
  }

  /** What is written next begins on a line of its own. */
  end(): void {
    if (this.#isOpen) this.#stream.write('\n')
    this.#isOpen = false
  }
}
