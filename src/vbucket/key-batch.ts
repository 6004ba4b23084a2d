/**
 * Keys that are about to be looked up one after the other: what is known of them before. See
 * look-ahead.ts for what it is good for.
 */
import { hashKey, hashKeyBehind } from '../storage/key-hash.ts'

/** More are looked up as if there were no batch. */
const keysMax = 256

export class KeyBatch {
  count = 0
  readonly hashes = new Uint32Array(keysMax)
  /** Where in memory the newest record of each most likely is; segment 0: nowhere. */
  readonly segments = new Uint32Array(keysMax)
  readonly units = new Uint32Array(keysMax)
  /** Of the bytes that were read: what nobody uses, a compiler leaves out. */
  sum = 0

  get isFull(): boolean {
    return this.count === keysMax
  }

  /** A key in the collection of this number, which is not in front of it yet. */
  add(collection: number, vbid: number, bytes: Uint8Array, start: number, length: number): void {
    this.hashes[this.count++] = hashKeyBehind(collection, vbid, bytes, start, length)
  }
  /** A key that begins with its collection. */
  addWhole(vbid: number, bytes: Uint8Array, start: number, length: number): void {
    this.hashes[this.count++] = hashKey(vbid, bytes, start, length)
  }
}
