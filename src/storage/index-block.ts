/**
 * A block of the index by key: the entries of one vbucket whose key hashes begin with the same
 * bits, in the order of their hashes.
 *
 *   | depth u8 | 15 × start u16 | entry … | entry … |
 *
 * `depth` is how many bits these are. The block is stored under the least hash that begins with
 * them, its name. One that outgrows two pages is split in two of the next depth, the first of which
 * keeps the name. The blocks of a vbucket cover all hashes, each hash once.
 *
 * The starts are where a search may begin: the next four bits of a hash cut the block into sixteen
 * parts, and each part but the first has one. They mean nothing in a block that is too deep for it.
 */
import { readUint16, writeUint16 } from '../../protocol/bytes.ts'
import { entryFixedLength, entryHashAt, entryLengthAt, isEntryOf } from './document-entry.ts'

const partBits = 4
const parts = 2 ** partBits

export const indexBlockHeadLength = 1 + 2 * (parts - 1)

/** What two pages of LMDB have room for: half as many look-ups of a commit as with one. */
export const indexBlockBytesMax = 8192 - 32

/** All bits of a hash. Blocks of this depth grow beyond that. */
export const depthMax = 32

/** Name of the block of this depth that has the hash. */
export function blockNameOf(hash: number, depth: number): number {
  return depth === 0 ? 0 : (hash & (-1 << (depthMax - depth))) >>> 0
}

/** By depth: how many hashes a block has. */
const hashesIn = Array.from({ length: depthMax + 1 }, (_, depth) => 2 ** (depthMax - depth))

/** The first hash behind the block. */
export function blockEndOf(name: number, depth: number): number {
  return name + hashesIn[depth]!
}

/** The block that one of this depth, which is not 0, was split from together with it. */
export function buddyOf(name: number, depth: number): number {
  return (name ^ (1 << (depthMax - depth))) >>> 0
}

/** Is thrown by whoever walks over a block that cannot be one. */
export class DamagedIndexBlock extends Error {
  constructor() {
    super('a block of the index is damaged')
  }
}

/** Writes the head of a block whose entries lie behind it, up to `end`. */
export function writeIndexBlockHead(
  bytes: Uint8Array,
  blockStart: number,
  end: number,
  name: number,
  depth: number,
): void {
  bytes[blockStart] = depth
  const isParted = depth <= depthMax - partBits
  const partHashes = isParted ? hashesIn[depth + partBits]! : 0
  let at = blockStart + indexBlockHeadLength
  for (let part = 1; part < parts; part++) {
    if (isParted) at = seekInIndexBlock(bytes, at, end, name + part * partHashes)
    writeUint16(bytes, blockStart + 2 * part - 1, at - blockStart)
  }
}

/** Where in a block, which begins with the bytes, a search for this hash begins. */
export function searchStartIn(bytes: Uint8Array, length: number, hash: number): number {
  const depth = bytes[0]!
  const part = depth > depthMax - partBits ? 0 : (hash << depth) >>> (depthMax - partBits)
  if (part === 0) return indexBlockHeadLength
  const start = readUint16(bytes, 2 * part - 1)
  if (start < indexBlockHeadLength || start > length) throw new DamagedIndexBlock()
  return start
}

/** Where in a block, from an entry on, the first stands whose hash is not less; its end if none. */
export function seekInIndexBlock(
  bytes: Uint8Array,
  from: number,
  length: number,
  hash: number,
): number {
  let at = from
  while (at + entryFixedLength <= length && entryHashAt(bytes, at) < hash) {
    const entryBytes = entryLengthAt(bytes, at)
    if (entryBytes < entryFixedLength) throw new DamagedIndexBlock()
    at += entryBytes
  }
  if (at > length || (at < length && at + entryFixedLength > length)) throw new DamagedIndexBlock()
  return at
}

/** Where the entry of a key stands, searched from a place on whose hash is not greater; 0 if none. */
export function findInIndexBlock(
  bytes: Uint8Array,
  from: number,
  length: number,
  hash: number,
  key: Uint8Array,
  keyStart: number,
  keyLength: number,
): number {
  let at = seekInIndexBlock(bytes, from, length, hash)
  while (at < length && entryHashAt(bytes, at) === hash) {
    const end = at + entryLengthAt(bytes, at)
    if (end < at + entryFixedLength || end > length) throw new DamagedIndexBlock()
    if (isEntryOf(bytes, at, key, keyStart, keyLength)) return at
    at = end
  }
  return 0
}

/** Where each entry stands. */
export function* entriesIn(bytes: Uint8Array, length: number): Generator<number> {
  for (let at = indexBlockHeadLength; at < length; at += entryLengthAt(bytes, at)) {
    const end = at + entryFixedLength <= length ? at + entryLengthAt(bytes, at) : 0
    if (end < at + entryFixedLength || end > length) throw new DamagedIndexBlock()
    yield at
  }
}
