/**
 * How far the flusher is behind: `soft` asks the servers to stop reading from writers, `hard`
 * refuses writes. It ends some way below where it begins, so that it does not flicker.
 */
export type Pressure = 'none' | 'soft' | 'hard'

export class PressureGauge {
  readonly #softBytes: number
  readonly #hardBytes: number
  readonly #listeners = new Set<(pressure: Pressure) => void>()
  #pressure: Pressure = 'none'

  constructor(softBytes: number, hardBytes: number) {
    this.#softBytes = softBytes
    this.#hardBytes = hardBytes
  }

  get pressure(): Pressure {
    return this.#pressure
  }

  /** Calls `listener` at every change and announcement until the returned function is called. */
  listen(listener: (pressure: Pressure) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  update(unflushedBytes: number): void {
    const pressure = this.#of(unflushedBytes)
    if (pressure === this.#pressure) return
    this.#pressure = pressure
    this.announce()
  }

  /** Tells the listeners where it stands: what else they go by has changed. */
  announce(): void {
    for (const listener of this.#listeners) listener(this.#pressure)
  }

  #of(unflushedBytes: number): Pressure {
    const scale = (level: Pressure) => (this.#pressure === level ? 0.75 : 1)
    if (unflushedBytes >= this.#hardBytes * scale('hard')) return 'hard'
    const softened = this.#pressure === 'none' ? 1 : 0.75
    return unflushedBytes >= this.#softBytes * softened ? 'soft' : 'none'
  }
}
