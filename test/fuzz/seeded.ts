/** Numbers that depend on the seed alone, so that a run can be repeated (mulberry32). */
export class Seeded {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A uniformly distributed unsigned 32-bit number. */
  uint32(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }

  /** Of 0 to `count` - 1. */
  below(count: number): number {
    return this.uint32() % count
  }

  /** Whether something happens that does once in `count` times. */
  oneIn(count: number): boolean {
    return this.uint32() % count === 0
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.uint32() % items.length]!
  }

  fill(bytes: Buffer, start = 0, end = bytes.length): void {
    for (let at = start; at < end; at++) bytes[at] = this.uint32()
  }
}

/** `SEED=17 npm test` repeats a run; without it, every run draws a new one. */
export function seedOf(wanted: string | undefined): number {
  return wanted === undefined ? 1 + Math.floor(Math.random() * 1_000_000) : Number(wanted)
}
