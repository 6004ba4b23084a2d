import { BackupError, damaged } from '../errors.ts'
import type { ByteRange } from '../store/object-store.ts'
import {
  blockHeaderLength,
  BlockKind,
  decodeBlockHeader,
  openBlock,
  type BlockHeader,
} from './block.ts'
import { Cipher, ObjectCipher } from './object-cipher.ts'
import { decodeObjectHeader, objectHeaderLength } from './object-header.ts'
import { recordsOfBlock } from './record-block.ts'
import type { ArchiveRecord } from './record.ts'
import {
  decodeIndex,
  decodeTrailer,
  endOfBlock,
  trailerLength,
  type IndexEntry,
  type Trailer,
} from './segment.ts'

/** What is read of a segment's end at once: its trailer, and most often all of its index. */
const tailBytes = 32 * 1024

export interface IndexedObjectOptions {
  readonly read: (range: ByteRange) => AsyncIterable<Buffer>
  readonly size: number
  readonly vbid: number
  readonly repositoryKey: Uint8Array | undefined
}

/**
 * A data object of which only parts are read: indexes, from its end on, and the blocks that they tell
 * of. What is read is checked as by `ObjectReader`; what is not read is not.
 */
export class IndexedObject {
  readonly #options: IndexedObjectOptions
  readonly #cipher: ObjectCipher | undefined
  /** What was read last of an end: it may have that of the segment before, too. */
  #tail: { start: number; bytes: Buffer } = { start: 0, bytes: Buffer.alloc(0) }
  #bytesRead = objectHeaderLength

  private constructor(options: IndexedObjectOptions, cipher: ObjectCipher | undefined) {
    this.#options = options
    this.#cipher = cipher
  }

  static async open(options: IndexedObjectOptions): Promise<IndexedObject> {
    const { vbid, repositoryKey } = options
    const header = decodeObjectHeader(await bytesOf(options, 0, objectHeaderLength))
    if (header.vbid !== vbid) throw damaged(`it is of vbucket ${header.vbid}, not of ${vbid}`)
    if (header.cipher === Cipher.none) return new IndexedObject(options, undefined)
    if (!repositoryKey) throw new BackupError('key', 'it is encrypted, and no key was given')
    return new IndexedObject(options, new ObjectCipher(repositoryKey, header.salt))
  }

  get bytesRead(): number {
    return this.#bytesRead
  }

  /** What each segment has: from the last one to the first. */
  async *indexes(): AsyncGenerator<IndexEntry[], void> {
    for (let end = this.#options.size; end > 0;) {
      const trailer = decodeTrailer(await this.#tailBefore(end, trailerLength))
      const { segmentOffset, indexOffset } = trailer
      const indexEnd = end - trailerLength
      if (segmentOffset > indexOffset || indexOffset + blockHeaderLength > indexEnd)
        throw damaged('a trailer tells of what cannot be')
      const index = await this.#tailBefore(indexEnd, indexEnd - indexOffset)
      const { header, raw } = await this.#open(index, indexOffset)
      const entries = decodeIndex(raw)
      if (header.kind !== BlockKind.index || !isIndexOf(trailer, entries))
        throw damaged('an index is not of its segment')
      yield entries
      end = segmentOffset
    }
  }

  /** The records of a block; valid for as long as they are held. */
  async records(entry: IndexEntry): Promise<ArchiveRecord[]> {
    const bytes = await this.#read(entry.offset, endOfBlock(entry))
    const { header, raw } = await this.#open(bytes, entry.offset)
    const { kind, recordCount, firstSeqno, lastSeqno } = header
    const fits =
      kind === BlockKind.records &&
      recordCount === entry.recordCount &&
      firstSeqno === entry.firstSeqno &&
      lastSeqno === entry.lastSeqno
    if (!fits) throw damaged('a block is not what the index tells of')
    return recordsOfBlock(header, raw)
  }

  async #open(bytes: Buffer, offset: number): Promise<{ header: BlockHeader; raw: Buffer }> {
    const headerBytes = bytes.subarray(0, blockHeaderLength)
    const header = decodeBlockHeader(headerBytes)
    const payload = bytes.subarray(blockHeaderLength)
    if (payload.length !== header.storedLength)
      throw damaged('a block has not the length it should have')
    return { header, raw: await openBlock(header, headerBytes, payload, offset, this.#cipher) }
  }

  async #tailBefore(end: number, length: number): Promise<Buffer> {
    const start = end - length
    if (start < 0) throw damaged('it is cut off')
    if (start < this.#tail.start || end > this.#tail.start + this.#tail.bytes.length) {
      const from = Math.min(start, Math.max(0, end - tailBytes))
      this.#tail = { start: from, bytes: await this.#read(from, end) }
    }
    return this.#tail.bytes.subarray(start - this.#tail.start, end - this.#tail.start)
  }

  async #read(start: number, end: number): Promise<Buffer> {
    const bytes = await bytesOf(this.#options, start, end)
    this.#bytesRead += bytes.length
    return bytes
  }
}

/** Blocks lie without gaps from the segment's start, behind the object header, to the index. */
function isIndexOf({ segmentOffset, indexOffset }: Trailer, entries: readonly IndexEntry[]) {
  let at = segmentOffset === 0 ? objectHeaderLength : segmentOffset
  for (const entry of entries) {
    if (entry.offset !== at) return false
    at = endOfBlock(entry)
  }
  return at === indexOffset && entries.length > 0
}

async function bytesOf(
  { read, size }: IndexedObjectOptions,
  start: number,
  end: number,
): Promise<Buffer> {
  const chunks: Buffer[] = []
  if (end <= size) for await (const chunk of read({ start, end })) chunks.push(chunk)
  const bytes = Buffer.concat(chunks)
  if (bytes.length !== end - start) throw damaged(`it is cut off before ${end}`)
  return bytes
}
