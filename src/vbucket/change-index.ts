/**
 * Which entry of the change log is the newest of a key: an open-addressing table of positions,
 * compared by the key bytes in the log itself, so that a look-up makes no string.
 *
 * Linear probing; a removal shifts later entries of its run back, so there are no grave marks
 * and the table never has to be rebuilt but to grow.
 */
export interface LogKeys {
  /** Whether the entry at `position` is of this vbucket and key. */
  isKeyAt(position: number, vbid: number, bytes: Uint8Array, start: number, length: number): boolean
}

const empty = 0

export class ChangeIndex {
  readonly #log: LogKeys
  /** Position + 1; 0 is an empty place. */
  #positions: Float64Array
  #hashes: Uint32Array
  #mask: number
  #size = 0

  constructor(log: LogKeys, capacity = 1024) {
    this.#log = log
    this.#positions = new Float64Array(capacity)
    this.#hashes = new Uint32Array(capacity)
    this.#mask = capacity - 1
  }

  get size(): number {
    return this.#size
  }

  /** The position of the newest entry of the key, or -1. */
  find(hash: number, vbid: number, bytes: Uint8Array, start: number, length: number): number {
    const place = this.#placeOf(hash, vbid, bytes, start, length)
    return this.#positions[place]! - 1
  }

  /** Makes `position` the newest entry of its key; returns the one before, or -1. */
  put(
    hash: number,
    vbid: number,
    bytes: Uint8Array,
    start: number,
    length: number,
    position: number,
  ): number {
    const place = this.#placeOf(hash, vbid, bytes, start, length)
    const before = this.#positions[place]! - 1
    this.#positions[place] = position + 1
    this.#hashes[place] = hash
    if (before < 0 && ++this.#size * 5 > this.#positions.length * 3) this.#grow()
    return before
  }

  /** Removes the key whose newest entry is `position`; nothing if a newer one has taken its place. */
  remove(hash: number, position: number): void {
    let place = hash & this.#mask
    for (;;) {
      const found = this.#positions[place]!
      if (found === empty) return
      if (found === position + 1) break
      place = (place + 1) & this.#mask
    }
    this.#size--
    this.#closeGap(place)
  }

  #placeOf(hash: number, vbid: number, bytes: Uint8Array, start: number, length: number): number {
    let place = hash & this.#mask
    for (;;) {
      const found = this.#positions[place]!
      if (found === empty) return place
      if (
        this.#hashes[place] === hash &&
        this.#log.isKeyAt(found - 1, vbid, bytes, start, length)
      ) {
        return place
      }
      place = (place + 1) & this.#mask
    }
  }

  #closeGap(gap: number): void {
    let place = gap
    for (;;) {
      place = (place + 1) & this.#mask
      const found = this.#positions[place]!
      if (found === empty) break
      const home = this.#hashes[place]! & this.#mask
      // It may move back unless its home lies behind the gap, cyclically.
      if (((place - home) & this.#mask) >= ((place - gap) & this.#mask)) {
        this.#positions[gap] = found
        this.#hashes[gap] = this.#hashes[place]!
        gap = place
      }
    }
    this.#positions[gap] = empty
  }

  #grow(): void {
    const positions = this.#positions
    const hashes = this.#hashes
    this.#positions = new Float64Array(positions.length * 2)
    this.#hashes = new Uint32Array(positions.length * 2)
    this.#mask = this.#positions.length - 1
    for (let i = 0; i < positions.length; i++) {
      if (positions[i] === empty) continue
      let place = hashes[i]! & this.#mask
      while (this.#positions[place] !== empty) place = (place + 1) & this.#mask
      this.#positions[place] = positions[i]!
      this.#hashes[place] = hashes[i]!
    }
  }
}

/** FNV-1a over vbucket and key with a final mix; for the index only, never stored. */
export function hashKey(vbid: number, bytes: Uint8Array, start: number, length: number): number {
  let hash = 0x811c9dc5 ^ vbid
  for (let i = start, end = start + length; i < end; i++) {
    hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
  }
  hash ^= hash >>> 15
  hash = Math.imul(hash, 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) >>> 0
}
