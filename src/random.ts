import { randomBytes } from 'node:crypto'

/** Randomness, handed in, so that a simulation with one seed is one run. */
export interface Random {
  /** A uniformly distributed unsigned 64-bit number other than 0. */
  uint64(): bigint
  /** A uniformly distributed number in [0, 1). */
  fraction(): number
}

export const systemRandom: Random = {
  uint64() {
    for (;;) {
      const value = randomBytes(8).readBigUInt64BE()
      if (value !== 0n) return value
    }
  },
  fraction: () => randomBytes(4).readUInt32BE() / 2 ** 32,
}
