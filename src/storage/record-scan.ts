/**
 * Reads records one after the other, many of them: what is shown of each is in one object that is
 * used again, and lies in lmdb's own buffer. An iterator that makes a key, a view and a pair of the
 * two for every record takes as long for that as for reading it.
 */
import { readSeqno, readUint16 } from '../../protocol/bytes.ts'
import type { RootDatabase, Transaction } from 'lmdb'
import { seqnoKeyEncoder, type SeqnoKey } from './keys.ts'

/** The record that the scan has come to; valid until its next step. */
export interface Scanned {
  readonly vbid: number
  readonly seqno: number
  /** The record is at its beginning; what follows behind `length` is of others. */
  readonly bytes: Buffer
  readonly length: number
}

export interface ScanBounds {
  start: SeqnoKey
  /** Exclusive. */
  end: SeqnoKey
  transaction: Transaction
}

export type RecordScan = (bounds: ScanBounds) => Iterable<{ value: Scanned }>

/** How lmdb is told to read keys and values: into the one object. */
class Reused implements Scanned {
  vbid = 0
  seqno = 0
  bytes = Buffer.alloc(0)
  length = 0
  #shown: Uint8Array | undefined

  readonly keyEncoder = {
    writeKey: (key: SeqnoKey, target: Buffer, position: number) =>
      seqnoKeyEncoder.writeKey(key, target, position),
    readKey: (source: Buffer, start: number) => this.#readKey(source, start),
  }
  readonly encoder = {
    encode: (value: Buffer) => value,
    decode: (value: Uint8Array, length: number) => this.#show(value, length),
    needsStableBuffer: false,
  }

  #readKey(source: Buffer, start: number): this {
    this.vbid = readUint16(source, start)
    this.seqno = readSeqno(source, start + 2)
    return this
  }

  /** lmdb gives the same buffer each time, or another one for a value that does not fit in. */
  #show(value: Uint8Array, length: number): this {
    this.length = length
    if (value !== this.#shown) {
      this.#shown = value
      const { buffer, byteOffset, byteLength } = value
      this.bytes = Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength)
    }
    return this
  }
}

export function openRecordScan(root: RootDatabase<Buffer, string>): RecordScan {
  const reused = new Reused()
  const { keyEncoder, encoder } = reused
  const settings = { keyEncoder, encoder, encoding: 'binary', create: false }
  const table = root.openDB('records', settings as never) as unknown as { getRange: RecordScan }
  return bounds => table.getRange(bounds)
}
