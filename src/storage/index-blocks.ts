/**
 * Finds the block of the index by key that has a hash. LMDB is asked for one name at a time, which
 * is much quicker than a cursor: how deep blocks are is remembered, so that the first name is
 * mostly the right one. What is remembered may be wrong: a block tells its own depth.
 */
import type { Table } from './environment.ts'
import { blockNameOf, DamagedIndexBlock, depthMax } from './index-block.ts'
import type { IndexKey } from './keys.ts'

export class IndexBlocks {
  readonly #table: Table<IndexKey>
  readonly #place: IndexKey = { vbid: 0, name: 0 }
  readonly #depths: (Uint8Array | undefined)[] = []
  /**
   * The block that was found last, in memory of lmdb that the next read of anything takes: cut it
   * to its length before it is copied.
   */
  bytes: Buffer = Buffer.alloc(0)
  length = 0
  name = 0
  depth = 0

  constructor(table: Table<IndexKey>) {
    this.#table = table
  }

  /** Shows the block that has this hash; false when the vbucket has none. */
  find(vbid: number, hash: number): boolean {
    let depth = this.#remembered(vbid, hash)
    // Each step goes towards it, unless there is damage.
    for (let steps = 0; steps <= 2 * depthMax; steps++) {
      const name = blockNameOf(hash, depth)
      if (this.read(vbid, name)) {
        if (blockNameOf(hash, this.depth) === name) {
          this.#remember(vbid, hash, this.depth)
          return true
        }
        // It has been split: the hash is in what begins with one bit more than they share.
        depth = Math.clz32(hash ^ name) + 1
      } else {
        if (name === 0) return false
        // It has not been split off yet.
        depth = Math.clz32(name & -name)
      }
    }
    throw new DamagedIndexBlock()
  }

  /** Shows the block of this name; false if there is none. */
  read(vbid: number, name: number): boolean {
    const place = this.#place
    place.vbid = vbid
    place.name = name
    const found = this.#table.getBinaryFast(place)
    if (found === undefined) return false
    this.bytes = found
    this.length = found.length
    this.name = name
    this.depth = found[0]!
    const isPossible = this.depth <= depthMax && blockNameOf(name, this.depth) === name
    if (!isPossible) throw new DamagedIndexBlock()
    return true
  }

  #remembered(vbid: number, hash: number): number {
    const depths = this.#depths[vbid]
    return depths === undefined ? 0 : depths[hash >>> shiftOf(depths)]!
  }

  #remember(vbid: number, hash: number, depth: number): void {
    let depths = (this.#depths[vbid] ??= new Uint8Array(2))
    if (depths[hash >>> shiftOf(depths)] === depth) return
    if (depth <= rememberedDepthMax && 2 ** depth > depths.length) {
      depths = this.#depths[vbid] = stretched(depths, 2 ** depth)
    }
    const shift = shiftOf(depths)
    const first = blockNameOf(hash, depth) >>> shift
    const count = Math.max(1, depths.length / 2 ** depth)
    depths.fill(depth, first, first + count)
  }
}

/** Deeper blocks are found in some more steps. */
const rememberedDepthMax = 16

/** By how much a hash is shifted to be an index; there are at least two. */
function shiftOf(depths: Uint8Array): number {
  return Math.clz32(depths.length) + 1
}

function stretched(depths: Uint8Array, length: number): Uint8Array {
  const times = length / depths.length
  return Uint8Array.from({ length }, (_, index) => depths[Math.floor(index / times)]!)
}
