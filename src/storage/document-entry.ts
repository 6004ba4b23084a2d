/**
 * The value of the documents table: where a key's newest record is, and all of its metadata that
 * a write has to know, so that overwriting a document does not read its value.
 *
 *   | seqno u64 | cas u64 | revno u64 | flags u32 | time u32 | value length u32 | kind u8 | datatype u8 |
 *   | distance u16 |
 *
 * `distance` is how far the seqno lies behind the name of the block that the record is in. `time` is the expiry of a mutation and the delete time of a tombstone.
 */
import type { RecordKind, RecordView } from './record.ts'
import { RecordKind as Kind } from './record.ts'

export const documentEntryLength = 40

/** One reused window on an entry; see `RecordView`. */
export class DocumentEntry {
  #bytes: Buffer = Buffer.alloc(documentEntryLength)

  at(bytes: Buffer): this {
    this.#bytes = bytes
    return this
  }
  get seqno(): number {
    return this.#bytes.readUInt32BE(0) * 2 ** 32 + this.#bytes.readUInt32BE(4)
  }
  get casHigh(): number {
    return this.#bytes.readUInt32BE(8)
  }
  get casLow(): number {
    return this.#bytes.readUInt32BE(12)
  }
  get revno(): number {
    return this.#bytes.readUInt32BE(16) * 2 ** 32 + this.#bytes.readUInt32BE(20)
  }
  get flags(): number {
    return this.#bytes.readUInt32BE(24)
  }
  get time(): number {
    return this.#bytes.readUInt32BE(28)
  }
  get valueLength(): number {
    return this.#bytes.readUInt32BE(32)
  }
  get kind(): RecordKind {
    return this.#bytes[36] as RecordKind
  }
  get isDeletion(): boolean {
    return this.kind !== Kind.mutation
  }
  get datatype(): number {
    return this.#bytes[37]!
  }
  /** Name of the block that the record is in. */
  get block(): number {
    return this.seqno - this.#bytes.readUInt16BE(38)
  }
  /** Absolute, in seconds; 0: never, and for tombstones. */
  get expiry(): number {
    return this.isDeletion ? 0 : this.time
  }
}

/**
 * Writes the entry of a record, which is in the block of this name, into `target`, which has
 * `documentEntryLength` bytes.
 */
export function writeDocumentEntry(record: RecordView, block: number, target: Buffer): void {
  const { bytes, start } = record
  bytes.copy(target, 0, start + 24, start + 32)
  bytes.copy(target, 8, start + 16, start + 24)
  bytes.copy(target, 16, start + 32, start + 40)
  target.writeUInt32BE(record.flags, 24)
  target.writeUInt32BE(record.isDeletion ? record.deleteTime : record.expiry, 28)
  target.writeUInt32BE(record.valueLength, 32)
  target[36] = record.kind
  target[37] = record.datatype
  target.writeUInt16BE(record.seqno - block, 38)
}
