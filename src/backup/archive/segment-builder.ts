import { createHash, type Hash } from 'node:crypto'
import { BlockKind, compressBlock, sealBlock, type BlockSummary } from './block.ts'
import { Compression, type CompressionName } from './compression.ts'
import { buildKeyFilter } from './key-filter.ts'
import { Cipher, ObjectCipher } from './object-cipher.ts'
import { encodeObjectHeader } from './object-header.ts'
import { recordsIn, type RecordCounts } from './record-counts.ts'
import { sealRecords } from './record-block.ts'
import { encodeIndex, encodeTrailer, endOfBlock, type IndexEntry } from './segment.ts'

/** Records one behind the other, whose checksums are still to be written. */
export interface RawBlock {
  /** Has them from its beginning on, and may be longer. */
  readonly memory: Buffer
  readonly length: number
  readonly firstSeqno: number
  readonly lastSeqno: number
  /** Of the object up to here. */
  readonly counts: Readonly<RecordCounts>
  /** Of the object: ends its segment, whatever its size. */
  readonly isLast: boolean
}

/** A finished segment: what one part of an upload carries. */
export interface Segment {
  /** From 1 on. */
  readonly number: number
  readonly offset: number
  readonly size: number
  /** To be written one behind the other. */
  readonly chunks: readonly Buffer[]
  /** SHA-256 of the chunks, in hexadecimal digits. */
  readonly sha256: string
  readonly lastSeqno: number
  /** Of the object up to here. */
  readonly counts: Readonly<RecordCounts>
  /** To be called when nobody looks at the chunks any more, once or again. */
  readonly release?: (() => void) | undefined
}

/** Makes the segments of one object. What is asked of it is asked one after the other. */
export interface SegmentMaker {
  /** Takes the memory, which `freed` may have back; answers with the segment that the block ends. */
  add(block: RawBlock): Promise<Segment | undefined>
  /** The segment that was begun, if there is anything in it; behind a last block nothing is asked. */
  end(): Promise<Segment | undefined>
}

export interface SegmentOptions {
  readonly vbid: number
  readonly salt: Uint8Array
  readonly compression: CompressionName
  /** Encrypts, if given. */
  readonly repositoryKey: Uint8Array | undefined
  /** A segment ends with the first block that brings it to this size. */
  readonly segmentBytes: number
  /** How much there is already. */
  readonly size: number
  readonly segments: number
}

/**
 * As segments double in size every so many, the greatest object that a store takes can be written
 * with the number of parts that it takes.
 */
const segmentsOfOneSize = 1000

export function segmentBytesAt(segmentNumber: number, segmentBytes: number): number {
  return segmentBytes * 2 ** Math.floor((segmentNumber - 1) / segmentsOfOneSize)
}

/** Checksums, filters, compresses, encrypts and hashes: all that takes time, and needs nothing but memory. */
export class SegmentBuilder implements SegmentMaker {
  readonly #options: SegmentOptions
  readonly #cipher: ObjectCipher | undefined
  readonly #freed: (memory: Buffer) => void
  #segments: number
  #segmentOffset: number
  #offset: number
  #chunks: Buffer[] = []
  #entries: IndexEntry[] = []
  #hash: Hash = createHash('sha256')
  /** As of the last block. */
  #counts: Readonly<RecordCounts> | undefined

  /** `freed` gets memory of blocks that is not part of a segment. */
  constructor(options: SegmentOptions, freed: (memory: Buffer) => void) {
    const { repositoryKey, salt, size, segments } = options
    this.#options = options
    this.#freed = freed
    this.#cipher = repositoryKey && new ObjectCipher(repositoryKey, salt)
    this.#segments = segments
    this.#offset = size
    this.#segmentOffset = size
  }

  async add({ memory, length, ...block }: RawBlock): Promise<Segment | undefined> {
    const bytes = memory.subarray(0, length)
    const hashes = sealRecords(bytes)
    const { firstSeqno, lastSeqno } = block
    const recordCount = hashes.length
    const summary = { kind: BlockKind.records, recordCount, firstSeqno, lastSeqno }
    const { offset, storedLength, payload } = await this.#append(bytes, summary)
    // What was written uncompressed is part of the segment, and must not be overwritten.
    if (payload !== bytes) this.#freed(memory)
    const entry = { offset, storedLength, rawLength: length, recordCount, firstSeqno, lastSeqno }
    this.#entries.push({ ...entry, keyFilter: buildKeyFilter(hashes) })
    this.#counts = block.counts
    const { segmentBytes } = this.#options
    const isFull =
      this.#offset - this.#segmentOffset >= segmentBytesAt(this.#segments + 1, segmentBytes)
    return isFull || block.isLast ? await this.end() : undefined
  }

  async end(): Promise<Segment | undefined> {
    const entries = this.#entries
    const last = entries.at(-1)
    if (!last) return undefined
    const { firstSeqno } = entries[0]!
    const recordCount = entries.reduce((sum, entry) => sum + entry.recordCount, 0)
    const indexOffset = endOfBlock(last)
    const { lastSeqno } = last
    const summary = { kind: BlockKind.index, recordCount, firstSeqno, lastSeqno }
    await this.#append(encodeIndex(entries), summary)
    const counts = this.#counts!
    const offset = this.#segmentOffset
    const trailer = {
      segmentOffset: offset,
      indexOffset,
      recordCount: recordsIn(counts),
      lastSeqno,
    }
    this.#push(encodeTrailer(trailer))
    const segment = {
      number: ++this.#segments,
      offset,
      size: this.#offset - offset,
      chunks: this.#chunks,
      sha256: this.#hash.digest('hex'),
      lastSeqno,
      counts,
    }
    this.#chunks = []
    this.#entries = []
    this.#hash = createHash('sha256')
    this.#segmentOffset = this.#offset
    return segment
  }

  /** Answers with where the block is, and its payload as it is stored. */
  async #append(bytes: Buffer, summary: BlockSummary) {
    const compression = Compression[this.#options.compression]
    const block = await compressBlock(bytes, compression, summary)
    if (this.#offset === 0) {
      const { vbid, salt } = this.#options
      const cipher = this.#cipher ? Cipher.aes256Gcm : Cipher.none
      this.#push(encodeObjectHeader({ vbid, cipher, salt }))
    }
    const offset = this.#offset
    const [header, payload] = sealBlock(block, offset, this.#cipher)
    this.#push(header)
    this.#push(payload)
    return { offset, storedLength: payload.length, payload }
  }

  #push(bytes: Buffer): void {
    this.#chunks.push(bytes)
    this.#hash.update(bytes)
    this.#offset += bytes.length
  }
}
