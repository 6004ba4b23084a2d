import { uint64High, uint64Low } from '../../../protocol/bytes.ts'
import { withMetaLength, WithMetaOption, writeWithMeta } from '../../../protocol/commands/index.ts'
import { headerLength, writeHeader } from '../../../protocol/header.ts'
import { Magic } from '../../../protocol/magic.ts'
import { Opcode } from '../../../protocol/opcode.ts'
import { RecordKind, type ArchiveRecord } from '../archive/record.ts'

const firstBytes = 320 * 1024
/** A buffer that had to grow beyond this for large documents is not kept. */
const keptBytesMax = 1024 * 1024

/**
 * SET_WITH_META and DEL_WITH_META of many records, one behind the other in one buffer, which is used
 * again and again: a record's bytes are copied once between the archive and the socket.
 */
export class RequestBatch {
  /** Of the requests, in their order: their places in the list that the sender was given. */
  readonly places: number[] = []
  readonly #options: number
  #buffer = Buffer.alloc(0)
  #length = 0

  /** `options` are bits of `WithMetaOption`. */
  constructor(options: number) {
    this.#options = options
  }

  /** Valid until `clear`. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }

  /** `prefix` names the collection, in front of the key. */
  add(record: ArchiveRecord, place: number, vbid: number, prefix: Uint8Array): void {
    const { key, value, cas, kind } = record
    const isMutation = kind === RecordKind.mutation
    const isExpiration = kind === RecordKind.expiration ? WithMetaOption.isExpiration : 0
    // Servers that know no options take extras without them.
    const options = this.#options | isExpiration || undefined
    const casHigh = uint64High(cas)
    const casLow = uint64Low(cas)
    const meta = {
      flags: record.flags,
      expiry: record.time,
      revno: record.revno,
      casHigh,
      casLow,
      options,
      nmeta: undefined,
    }
    const extrasLength = withMetaLength(meta)
    const keyLength = prefix.length + key.length
    const bodyLength = extrasLength + keyLength + value.length
    const at = this.#makeRoom(headerLength + bodyLength)
    const opcode = isMutation ? Opcode.setWithMeta : Opcode.delWithMeta
    writeHeader(
      this.#buffer,
      at,
      Magic.request,
      opcode,
      keyLength,
      extrasLength,
      record.datatype,
      vbid,
      bodyLength,
      0,
      0,
      0,
    )
    writeWithMeta(this.#buffer, at + headerLength, meta)
    const keyAt = at + headerLength + extrasLength
    if (prefix.length > 0) this.#buffer.set(prefix, keyAt)
    this.#buffer.set(key, keyAt + prefix.length)
    this.#buffer.set(value, keyAt + keyLength)
    this.places.push(place)
  }

  clear(): void {
    this.places.length = 0
    this.#length = 0
    if (this.#buffer.length > keptBytesMax) this.#buffer = Buffer.alloc(0)
  }

  /** Bytes that may still be on their way to a socket that was lost: they are given up. */
  abandon(): void {
    this.#buffer = Buffer.alloc(0)
    this.clear()
  }

  #makeRoom(length: number): number {
    const at = this.#length
    const needed = at + length
    if (needed > this.#buffer.length) {
      const room = Buffer.allocUnsafeSlow(Math.max(firstBytes, needed, 2 * this.#buffer.length))
      this.#buffer.copy(room, 0, 0, at)
      this.#buffer = room
    }
    this.#length = needed
    return at
  }
}
