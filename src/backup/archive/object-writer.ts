import { createHash, randomBytes, type Hash } from 'node:crypto'
import { BlockKind, compressBlock, sealBlock, type BlockSummary } from './block.ts'
import { Compression, type CompressionName } from './compression.ts'
import { Cipher, ObjectCipher } from './object-cipher.ts'
import { buildKeyFilter, keyHashIn } from './key-filter.ts'
import { encodeObjectHeader, saltLength } from './object-header.ts'
import {
  collectionIdOffset,
  encodeRecord,
  recordHeaderLength,
  recordKindName,
  recordLength,
  type ArchiveRecord,
  type RecordKind,
} from './record.ts'
import { SpareBlocks } from './spare-blocks.ts'
import { encodeIndex, encodeTrailer, endOfBlock, type IndexEntry } from './segment.ts'

/** How many records of each kind there are, and the bytes of their keys and values. */
export interface RecordCounts {
  mutation: number
  deletion: number
  expiration: number
  documentBytes: number
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
}

/** What has to be kept to go on with an object behind one of its segments. */
export interface ObjectProgress {
  /** Base64, as it goes into a journal. */
  readonly salt: string
  readonly segments: number
  readonly size: number
  readonly lastSeqno: number
  readonly counts: Readonly<RecordCounts>
}

export interface ObjectWriterOptions {
  vbid: number
  compression: CompressionName
  /** Encrypts, if given. */
  repositoryKey?: Uint8Array | undefined
  /** Records are gathered up to this size, and compressed together. */
  blockBytes: number
  /** Blocks of this size, if others write as well. */
  spareBlocks?: SpareBlocks | undefined
  /** A segment ends with the first block that brings it to this size. */
  segmentBytes: number
  /** Goes on behind what there is. */
  progress?: ObjectProgress | undefined
  /** Segments come one after the other: the next is not begun before this one is taken. */
  onSegment: (segment: Segment) => Promise<void>
}

const sparesOfOneWriter = 2

export const defaultBlockBytes = 256 * 1024
export const defaultSegmentBytes = 8 * 1024 * 1024

/**
 * As segments double in size every so many, the greatest object that a store takes can be written
 * with the number of parts that it takes.
 */
const segmentsOfOneSize = 1000

export function segmentBytesAt(segmentNumber: number, segmentBytes: number): number {
  return segmentBytes * 2 ** Math.floor((segmentNumber - 1) / segmentsOfOneSize)
}

/**
 * Makes the data object of one vbucket, as a row of segments. In memory are at most two blocks of
 * records and one segment: a block is compressed while the next is filled, and whoever appends waits
 * when that is full, too.
 */
export class ObjectWriter {
  readonly #options: ObjectWriterOptions
  readonly #salt: Buffer
  readonly #cipher: ObjectCipher | undefined
  readonly #counts: RecordCounts
  readonly #spareBlocks: SpareBlocks
  #raw: Buffer | undefined
  #rawLength = 0
  /** Of the records in `#raw`. */
  #keyHashes: number[] = []
  #firstSeqno = 0
  #lastSeqno: number
  #sealing: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined
  #segments: number
  #segmentOffset: number
  #offset: number
  #chunks: Buffer[] = []
  #entries: IndexEntry[] = []
  #hash: Hash = createHash('sha256')
  /** As of the last sealed block: of what lies in `#raw`, a segment says nothing. */
  #sealedCounts: RecordCounts

  constructor(options: ObjectWriterOptions) {
    const { progress, repositoryKey, blockBytes } = options
    this.#options = options
    this.#spareBlocks = options.spareBlocks ?? new SpareBlocks(blockBytes, sparesOfOneWriter)
    this.#salt = progress
      ? Buffer.from(progress.salt, 'base64')
      : repositoryKey
        ? randomBytes(saltLength)
        : Buffer.alloc(saltLength)
    this.#cipher = repositoryKey && new ObjectCipher(repositoryKey, this.#salt)
    this.#counts = { ...(progress?.counts ?? noRecords) }
    this.#sealedCounts = { ...this.#counts }
    this.#segments = progress?.segments ?? 0
    this.#offset = progress?.size ?? 0
    this.#segmentOffset = this.#offset
    this.#lastSeqno = progress?.lastSeqno ?? 0
  }

  /** In base64. */
  get salt(): string {
    return this.#salt.toString('base64')
  }

  /** The newest record appended. */
  get lastSeqno(): number {
    return this.#lastSeqno
  }

  /** What it has in memory. */
  get heldBytes(): number {
    return this.#rawLength + this.#offset - this.#segmentOffset
  }

  /** A promise if the caller has to wait before it appends more. */
  append(record: ArchiveRecord): Promise<void> | undefined {
    if (this.#failure) throw this.#failure.error
    const length = recordLength(record)
    let wait: Promise<void> | undefined
    if (this.#raw && this.#rawLength + length > this.#raw.length) wait = this.#sealSoon()
    this.#raw ??= this.#emptyBlock(length)
    const at = this.#rawLength
    this.#rawLength = encodeRecord(this.#raw, at, record)
    const keyEnd = at + recordHeaderLength + record.key.length
    if (this.#keyHashes.length === 0) this.#firstSeqno = record.seqno
    this.#keyHashes.push(keyHashIn(this.#raw, at + collectionIdOffset, keyEnd))
    this.#lastSeqno = record.seqno
    this.#counts[kindName(record.kind)]++
    this.#counts.documentBytes += record.key.length + record.value.length
    return wait
  }

  /** Ends the current segment, if there is anything in it, with what was appended so far. */
  async finishSegment(): Promise<void> {
    if (this.#raw) await this.#sealSoon()
    await this.#sealing
    if (this.#failure) throw this.#failure.error
    if (this.#entries.length > 0) await this.#endSegment()
  }

  #emptyBlock(length: number): Buffer {
    const { blockBytes } = this.#options
    return length > blockBytes ? Buffer.allocUnsafeSlow(length) : this.#spareBlocks.take()
  }

  /** Answers with what was still being sealed before, to be waited for. */
  #sealSoon(): Promise<void> | undefined {
    const raw = this.#raw!
    const block = raw.subarray(0, this.#rawLength)
    const summary = {
      kind: BlockKind.records,
      recordCount: this.#keyHashes.length,
      firstSeqno: this.#firstSeqno,
      lastSeqno: this.#lastSeqno,
    }
    const counts = { ...this.#counts }
    const hashes = this.#keyHashes
    const before = this.#sealing
    const work = (before ?? Promise.resolve())
      .then(() => (this.#failure ? undefined : this.#seal(raw, block, { summary, counts, hashes })))
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .then(() => {
        if (this.#sealing === work) this.#sealing = undefined
      })
    this.#sealing = work
    this.#raw = undefined
    this.#rawLength = 0
    this.#keyHashes = []
    return before
  }

  async #seal(
    raw: Buffer,
    block: Buffer,
    { summary, counts, hashes }: { summary: BlockSummary; counts: RecordCounts; hashes: number[] },
  ) {
    const { segmentBytes } = this.#options
    const stored = await this.#add(block, summary, hashes)
    // What was written uncompressed is part of the segment, and must not be overwritten.
    if (stored !== block) this.#spareBlocks.give(raw)
    this.#sealedCounts = counts
    const size = this.#offset - this.#segmentOffset
    if (size >= segmentBytesAt(this.#segments + 1, segmentBytes)) await this.#endSegment()
  }

  /** Answers with the payload as it was stored. */
  async #add(bytes: Buffer, summary: BlockSummary, hashes: number[] = []): Promise<Buffer> {
    const compression = Compression[this.#options.compression]
    const block = await compressBlock(bytes, compression, summary)
    if (this.#offset === 0) this.#push(encodeObjectHeader(this.#header()))
    const offset = this.#offset
    const [header, payload] = sealBlock(block, offset, this.#cipher)
    this.#push(header)
    this.#push(payload)
    if (summary.kind === BlockKind.records) {
      const { recordCount, firstSeqno, lastSeqno } = summary
      const { rawLength } = block
      const storedLength = payload.length
      const keyFilter = buildKeyFilter(hashes)
      const seqnos = { firstSeqno, lastSeqno }
      this.#entries.push({ offset, storedLength, rawLength, recordCount, ...seqnos, keyFilter })
    }
    return payload
  }

  #header() {
    const cipher = this.#cipher ? Cipher.aes256Gcm : Cipher.none
    return { vbid: this.#options.vbid, cipher, salt: this.#salt }
  }

  #push(bytes: Buffer): void {
    this.#chunks.push(bytes)
    this.#hash.update(bytes)
    this.#offset += bytes.length
  }

  async #endSegment(): Promise<void> {
    const entries = this.#entries
    const last = entries.at(-1)!
    const { firstSeqno } = entries[0]!
    const recordCount = entries.reduce((sum, entry) => sum + entry.recordCount, 0)
    const indexOffset = endOfBlock(last)
    const { lastSeqno } = last
    const summary = { kind: BlockKind.index, recordCount, firstSeqno, lastSeqno }
    await this.#add(encodeIndex(entries), summary)
    const counts = this.#sealedCounts
    const total = recordsIn(counts)
    const segmentOffset = this.#segmentOffset
    this.#push(encodeTrailer({ segmentOffset, indexOffset, recordCount: total, lastSeqno }))
    const segment = {
      number: ++this.#segments,
      offset: segmentOffset,
      size: this.#offset - segmentOffset,
      chunks: this.#chunks,
      sha256: this.#hash.digest('hex'),
      lastSeqno,
      counts: { ...counts },
    }
    this.#chunks = []
    this.#entries = []
    this.#hash = createHash('sha256')
    this.#segmentOffset = this.#offset
    await this.#options.onSegment(segment)
  }
}

export const noRecords: Readonly<RecordCounts> = {
  mutation: 0,
  deletion: 0,
  expiration: 0,
  documentBytes: 0,
}

export function recordsIn({ mutation, deletion, expiration }: Readonly<RecordCounts>): number {
  return mutation + deletion + expiration
}

export function sumOf(all: readonly RecordCounts[]): RecordCounts {
  const sum = { ...noRecords }
  for (const counts of all) {
    sum.mutation += counts.mutation
    sum.deletion += counts.deletion
    sum.expiration += counts.expiration
    sum.documentBytes += counts.documentBytes
  }
  return sum
}

function kindName(kind: RecordKind): 'mutation' | 'deletion' | 'expiration' {
  return recordKindName[kind] as 'mutation' | 'deletion' | 'expiration'
}

/**
 * What the manifest says of an object's contents: the SHA-256 of the SHA-256s of its segments, in
 * their order. Unlike one over all bytes it can be gone on with after a crash.
 */
export function objectDigest(segmentDigests: readonly string[]): string {
  const hash = createHash('sha256')
  for (const digest of segmentDigests) hash.update(Buffer.from(digest, 'hex'))
  return hash.digest('hex')
}
