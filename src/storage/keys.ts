/**
 * Keys of the tables, big-endian so that LMDB's byte order is the numeric order:
 *
 *   index        | vbid u16 | name u32 |   a block's name, see index-block.ts
 *   blocks       | vbid u16 | seqno u64 |  the block's name, see block.ts
 *   superseded   | vbid u16 | seqno u64 |  where a span begins, see superseded.ts
 *   tombstones   | vbid u16 | seqno u64 |
 *   expiries     | expiry u32 | vbid u16 | seqno u64 |
 *   vbuckets     | vbid u16 |
 *   collections  | vbid u16 | subject u8 | id u32 |  see collection-record.ts
 *   holds        | vbid u16 | holder, UTF-8 |
 *
 * The hot ones are written from one reused object each, so that a look-up allocates no key.
 */

/** What lmdb calls to write a key into its own memory and to read it back. */
interface KeyEncoder<Key> {
  writeKey(key: Key, target: Buffer, position: number): number
  readKey(source: Buffer, start: number, end: number): Key
}

export interface IndexKey {
  vbid: number
  /** See index-block.ts. */
  name: number
}

export const indexKeyEncoder: KeyEncoder<IndexKey> = {
  writeKey(key, target, position) {
    target[position] = key.vbid >>> 8
    target[position + 1] = key.vbid
    return writeUint32(target, position + 2, key.name)
  },
  readKey(source, start) {
    return { vbid: uint16(source, start), name: uint32(source, start + 2) }
  },
}

export interface SeqnoKey {
  vbid: number
  seqno: number
}

export const seqnoKeyEncoder: KeyEncoder<SeqnoKey> = {
  writeKey(key, target, position) {
    target[position] = key.vbid >>> 8
    target[position + 1] = key.vbid
    return writeUint64(target, position + 2, key.seqno)
  },
  readKey(source, start) {
    return { vbid: uint16(source, start), seqno: uint64(source, start + 2) }
  },
}

export interface ExpiryKey {
  expiry: number
  vbid: number
  seqno: number
}

export const expiryKeyEncoder: KeyEncoder<ExpiryKey> = {
  writeKey(key, target, position) {
    writeUint32(target, position, key.expiry)
    target[position + 4] = key.vbid >>> 8
    target[position + 5] = key.vbid
    return writeUint64(target, position + 6, key.seqno)
  },
  readKey(source, start) {
    return {
      expiry: uint32(source, start),
      vbid: uint16(source, start + 4),
      seqno: uint64(source, start + 6),
    }
  },
}

export interface HoldKey {
  vbid: number
  holder: string
}

export const holdKeyEncoder: KeyEncoder<HoldKey> = {
  writeKey(key, target, position) {
    target[position] = key.vbid >>> 8
    target[position + 1] = key.vbid
    return position + 2 + Buffer.from(key.holder).copy(target, position + 2)
  },
  readKey(source, start, end) {
    const holder = Buffer.from(source.buffer, source.byteOffset + start + 2, end - start - 2)
    return { vbid: uint16(source, start), holder: holder.toString() }
  },
}

function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!
}
function uint32(bytes: Uint8Array, at: number): number {
  return uint16(bytes, at) * 65536 + uint16(bytes, at + 2)
}
function uint64(bytes: Uint8Array, at: number): number {
  return uint32(bytes, at) * 2 ** 32 + uint32(bytes, at + 4)
}
function writeUint32(target: Uint8Array, at: number, value: number): number {
  target[at] = value >>> 24
  target[at + 1] = value >>> 16
  target[at + 2] = value >>> 8
  target[at + 3] = value
  return at + 4
}
function writeUint64(target: Uint8Array, at: number, value: number): number {
  return writeUint32(target, writeUint32(target, at, Math.floor(value / 2 ** 32)), value >>> 0)
}
