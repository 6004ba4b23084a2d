/** So long after somebody was served others are expected. */
const expectedMs = 20

/**
 * Whether somebody is being served who should not wait for long: those who compute rest now and then
 * meanwhile.
 */
export class ServedLately {
  #servedBefore = 0
  #untilMs = -Infinity

  /** `served` counts all who were served so far; `nowMs` never steps backwards. */
  look(served: number, nowMs: number): boolean {
    if (served !== this.#servedBefore) {
      this.#servedBefore = served
      this.#untilMs = nowMs + expectedMs
    }
    return nowMs < this.#untilMs
  }
}
