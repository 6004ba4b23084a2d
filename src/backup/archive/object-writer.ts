import { createHash, randomBytes } from 'node:crypto'
import type { CompressionName } from './compression.ts'
import type { FillingBlocks, FillingPlace } from './filling-blocks.ts'
import { saltLength } from './object-header.ts'
import { countRecord, noRecords, type RecordCounts } from './record-counts.ts'
import {
  encodeUnsealedRecord,
  formOf,
  recordHeaderLength,
  type ArchiveRecord,
  type RecordForm,
} from './record.ts'
import { SegmentBuilder, type Segment, type SegmentMaker } from './segment-builder.ts'
import type { SegmentMakers } from './segment-makers.ts'
import { SpareBlocks } from './spare-blocks.ts'

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
  /** Where blocks are filled, if not in the memory that goes on to become a segment. */
  fillingBlocks?: FillingBlocks | undefined
  /** Where segments are made, if not here. */
  makers?: SegmentMakers | undefined
  /** A segment ends with the first block that brings it to this size. */
  segmentBytes: number
  /** Goes on behind what there is. */
  progress?: ObjectProgress | undefined
  /** Segments come one after the other: the next is not begun before this one is taken. */
  onSegment: (segment: Segment) => Promise<void>
}

const sparesOfOneWriter = 2
/** Blocks of one object that are being sealed while the next is filled. */
const sealingMax = 4

export const defaultBlockBytes = 256 * 1024
export const defaultSegmentBytes = 8 * 1024 * 1024

/**
 * Makes the data object of one vbucket, as a row of segments. In memory are at most six blocks of
 * records and one segment: blocks are sealed while the next is filled, and whoever appends waits
 * when there are too many of them.
 */
export class ObjectWriter {
  readonly #options: ObjectWriterOptions
  readonly #salt: Buffer
  readonly #maker: SegmentMaker
  readonly #counts: RecordCounts
  readonly #spareBlocks: SpareBlocks
  /** What the block that is being filled is in, and up to where. */
  #place: FillingPlace | undefined
  #filledTo = 0
  /** Of `fillingBlocks`, from the first record to the last. */
  #ownPlace: FillingPlace | undefined
  #firstSeqno = 0
  #lastSeqno: number
  /** One after the other, the oldest first. */
  #sealing: Promise<void>[] = []
  #failure: { readonly error: unknown } | undefined
  /** Of blocks that are full and not yet part of a segment that was taken; and of those in one. */
  #heldBytes = 0
  #segmentBytes = 0
  /** The maker knows that there is nothing behind what it has. */
  #isEnded = false

  constructor(options: ObjectWriterOptions) {
    const { vbid, compression, segmentBytes, progress, repositoryKey, blockBytes, makers } = options
    this.#options = options
    this.#spareBlocks = options.spareBlocks ?? new SpareBlocks(blockBytes, sparesOfOneWriter)
    this.#salt = progress
      ? Buffer.from(progress.salt, 'base64')
      : repositoryKey
        ? randomBytes(saltLength)
        : Buffer.alloc(saltLength)
    this.#counts = { ...(progress?.counts ?? noRecords) }
    this.#lastSeqno = progress?.lastSeqno ?? 0
    const { size = 0, segments = 0 } = progress ?? {}
    const how = { vbid, salt: this.#salt, compression, repositoryKey, segmentBytes, size, segments }
    const freed = (memory: Buffer) => this.#spareBlocks.give(memory)
    this.#maker = makers?.maker(how) ?? new SegmentBuilder(how, freed)
  }

  /** In base64. */
  get salt(): string {
    return this.#salt.toString('base64')
  }

  /** The newest record appended. */
  get lastSeqno(): number {
    return this.#lastSeqno
  }

  /** What it has in memory, as it was before it was compressed. */
  get heldBytes(): number {
    return this.#filledBytes + this.#heldBytes
  }

  /** A promise if the caller has to wait before it appends more. */
  append(record: ArchiveRecord): Promise<void> | undefined {
    return this.appendForm(formOf(record))
  }

  /** The same, for whoever has records in a form of its own. */
  appendForm(form: RecordForm): Promise<void> | undefined {
    if (this.#failure) throw this.#failure.error
    const { kind, seqno } = form
    const documentBytes = form.keyLength + form.valueLength
    const length = recordHeaderLength + documentBytes
    let wait: Promise<void> | undefined
    if (this.#place && this.#filledTo + length > this.#place.end) wait = this.#sealSoon()
    if (!this.#place) {
      this.#place = this.#emptyPlace(length)
      this.#filledTo = this.#place.start
      this.#firstSeqno = seqno
    }
    this.#filledTo = encodeUnsealedRecord(this.#place.memory, this.#filledTo, form)
    this.#lastSeqno = seqno
    countRecord(this.#counts, kind, documentBytes)
    return wait
  }

  /** Ends the last segment, if there is anything in it. Nothing is appended any more. */
  async finish(): Promise<void> {
    if (this.#place) void this.#sealSoon(true)
    if (this.#ownPlace) this.#options.fillingBlocks!.give(this.#ownPlace)
    this.#ownPlace = undefined
    await this.#sealing.at(-1)
    if (this.#failure) throw this.#failure.error
    if (!this.#isEnded) await this.#take(await this.#maker.end())
  }

  get #filledBytes(): number {
    return this.#place ? this.#filledTo - this.#place.start : 0
  }

  #emptyPlace(length: number): FillingPlace {
    const { blockBytes, fillingBlocks } = this.#options
    if (length <= blockBytes) {
      this.#ownPlace ??= fillingBlocks?.take()
      if (this.#ownPlace) return this.#ownPlace
    }
    const memory = length > blockBytes ? Buffer.allocUnsafeSlow(length) : this.#spareBlocks.take()
    return { memory, start: 0, end: memory.length }
  }

  /** The block that was filled, in memory that can be given away. */
  #filledMemory(): Buffer {
    const { memory, start } = this.#place!
    if (this.#place !== this.#ownPlace) return memory
    const copy = this.#spareBlocks.take()
    memory.copy(copy, 0, start, this.#filledTo)
    return copy
  }

  /** Answers with what is to be waited for, if too much is being sealed. */
  #sealSoon(isLast = false): Promise<void> | undefined {
    const block = {
      memory: this.#filledMemory(),
      length: this.#filledBytes,
      firstSeqno: this.#firstSeqno,
      lastSeqno: this.#lastSeqno,
      counts: { ...this.#counts },
      isLast,
    }
    this.#isEnded = isLast
    this.#heldBytes += block.length
    const work = (this.#sealing.at(-1) ?? Promise.resolve())
      .then(async () => {
        if (this.#failure) return
        this.#segmentBytes += block.length
        await this.#take(await this.#maker.add(block))
      })
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .then(() => void this.#sealing.shift())
    const wait = this.#sealing.length >= sealingMax ? this.#sealing[0] : undefined
    this.#sealing.push(work)
    this.#place = undefined
    return wait
  }

  async #take(segment: Segment | undefined): Promise<void> {
    if (!segment) return
    await this.#options.onSegment(segment)
    this.#heldBytes -= this.#segmentBytes
    this.#segmentBytes = 0
  }
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
