import { createHash, type Hash } from 'node:crypto'
import { readUint32 } from '../../../protocol/bytes.ts'
import { BackupError, damaged } from '../errors.ts'
import {
  blockHeaderLength,
  BlockKind,
  decodeBlockHeader,
  openBlock,
  type BlockHeader,
} from './block.ts'
import { ByteSource } from './byte-source.ts'
import { mayHaveKey } from './key-filter.ts'
import { Cipher, ObjectCipher } from './object-cipher.ts'
import { decodeObjectHeader, objectHeaderLength, type ObjectHeader } from './object-header.ts'
import { objectDigest } from './object-writer.ts'
import type { ArchiveRecord } from './record.ts'
import { keyHashesOfBlock, recordsOfBlock } from './record-block.ts'
import {
  decodeIndex,
  decodeTrailer,
  trailerLength,
  trailerMark,
  type IndexEntry,
} from './segment.ts'

/** What was read of an object that was read to its end. */
export interface ObjectSummary {
  readonly vbid: number
  readonly size: number
  readonly segments: number
  /** As the manifest has it. */
  readonly sha256: string
  readonly recordCount: number
  readonly lastSeqno: number
}

interface SeenBlock {
  readonly offset: number
  readonly header: BlockHeader
  readonly keyHashes: readonly number[]
}

interface Expected {
  /** Undefined until the first block. */
  header: ObjectHeader | undefined
  cipher: ObjectCipher | undefined
  segmentOffset: number
  indexOffset: number
  /** Of the segment. */
  blocks: SeenBlock[]
  hash: Hash
  digests: string[]
  recordCount: number
  lastSeqno: number
}

/**
 * Reads a data object from its first byte to its last and checks everything that can be checked:
 * headers, checksums, that blocks are what their headers and the index say, that seqnos only grow.
 */
export class ObjectReader {
  readonly #source: ByteSource
  readonly #repositoryKey: Uint8Array | undefined
  readonly #expected: Expected = {
    header: undefined,
    cipher: undefined,
    segmentOffset: 0,
    indexOffset: -1,
    blocks: [],
    hash: createHash('sha256'),
    digests: [],
    recordCount: 0,
    lastSeqno: 0,
  }
  #summary: ObjectSummary | undefined

  constructor(chunks: AsyncIterable<Uint8Array>, repositoryKey?: Uint8Array) {
    this.#source = new ByteSource(chunks)
    this.#repositoryKey = repositoryKey
  }

  /** Once `records` came to its end. */
  get summary(): ObjectSummary | undefined {
    return this.#summary
  }

  /** Key and value of a record are valid for as long as they are held. */
  async *records(): AsyncGenerator<ArchiveRecord, void> {
    for await (const block of this.blocks()) yield* block
  }

  /** The records, a block at a time: for whoever cannot wait for each of them. */
  async *blocks(): AsyncGenerator<ArchiveRecord[], void> {
    const source = this.#source
    const expected = this.#expected
    try {
      await this.#readHeader()
      do {
        const mark = readUint32(await source.peek(4), 0)
        if (mark === trailerMark) {
          await this.#readTrailer()
          continue
        }
        if (expected.indexOffset >= 0) throw damaged('an index that no trailer follows')
        const records = await this.#readBlock()
        if (records) yield records
      } while (!(await source.atEnd()))
      this.#finish()
    } finally {
      await source.close()
    }
  }

  async #readHeader(): Promise<void> {
    const expected = this.#expected
    const bytes = await this.#source.take(objectHeaderLength)
    const header = decodeObjectHeader(bytes)
    expected.hash.update(bytes)
    expected.header = header
    if (header.cipher === Cipher.none) return
    if (!this.#repositoryKey) throw new BackupError('key', 'it is encrypted, and no key was given')
    expected.cipher = new ObjectCipher(this.#repositoryKey, header.salt)
  }

  async #readBlock(): Promise<ArchiveRecord[] | undefined> {
    const source = this.#source
    const expected = this.#expected
    const { offset } = source
    const headerBytes = Buffer.from(await source.take(blockHeaderLength))
    const header = decodeBlockHeader(headerBytes)
    const payload = await source.take(header.storedLength)
    expected.hash.update(headerBytes).update(payload)
    const raw = await openBlock(header, headerBytes, payload, offset, expected.cipher)
    if (header.kind === BlockKind.index) {
      expected.indexOffset = offset
      this.#checkIndex(decodeIndex(raw))
      return undefined
    }
    const records = recordsOfBlock(header, raw)
    this.#checkOrder(records)
    expected.blocks.push({ offset, header, keyHashes: keyHashesOfBlock(records, raw) })
    return records
  }

  #checkOrder(records: readonly ArchiveRecord[]): void {
    const expected = this.#expected
    for (const { seqno } of records) {
      if (seqno <= expected.lastSeqno)
        throw damaged(`seqno ${seqno} comes after ${expected.lastSeqno}`)
      expected.lastSeqno = seqno
    }
    expected.recordCount += records.length
  }

  #checkIndex(entries: readonly IndexEntry[]): void {
    const found = this.#expected.blocks
    const isFound = (entry: IndexEntry, index: number) => isEntryOf(entry, found[index]!)
    if (entries.length !== found.length || !entries.every(isFound))
      throw damaged('an index is not of the blocks in front of it')
  }

  async #readTrailer(): Promise<void> {
    const source = this.#source
    const expected = this.#expected
    const bytes = await source.take(trailerLength)
    const trailer = decodeTrailer(bytes)
    const fits =
      trailer.segmentOffset === expected.segmentOffset &&
      trailer.indexOffset === expected.indexOffset &&
      trailer.recordCount === expected.recordCount &&
      trailer.lastSeqno === expected.lastSeqno
    if (!fits) throw damaged('a trailer is not of the segment in front of it')
    expected.digests.push(expected.hash.update(bytes).digest('hex'))
    expected.hash = createHash('sha256')
    expected.segmentOffset = source.offset
    expected.indexOffset = -1
    expected.blocks = []
  }

  #finish(): void {
    const { header, segmentOffset, digests, recordCount, lastSeqno } = this.#expected
    const size = this.#source.offset
    if (segmentOffset !== size) throw damaged(`it is cut off at ${size}`)
    this.#summary = {
      vbid: header!.vbid,
      size,
      segments: digests.length,
      sha256: objectDigest(digests),
      recordCount,
      lastSeqno,
    }
  }
}

function isEntryOf(entry: IndexEntry, { offset, header, keyHashes }: SeenBlock): boolean {
  return (
    entry.offset === offset &&
    entry.storedLength === header.storedLength &&
    entry.rawLength === header.rawLength &&
    entry.recordCount === header.recordCount &&
    entry.firstSeqno === header.firstSeqno &&
    entry.lastSeqno === header.lastSeqno &&
    keyHashes.every(hash => mayHaveKey(entry.keyFilter, hash))
  )
}
