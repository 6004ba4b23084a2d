/** A time in which the flusher writes nothing: see online-compaction.ts. */
export class FlusherPause {
  /** Resolves when it has begun; to false when it is over before that. */
  readonly begun: Promise<boolean>
  /** Somebody waits for what is not written meanwhile. */
  readonly wanted: () => void
  #settle!: (hasBegun: boolean) => void

  constructor(onWanted: () => void) {
    this.wanted = onWanted
    this.begun = new Promise(resolve => (this.#settle = resolve))
  }

  begin(): void {
    this.#settle(true)
  }

  end(): void {
    this.#settle(false)
  }
}
