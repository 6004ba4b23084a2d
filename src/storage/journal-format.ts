/**
 * The journal's blocks. Each is a stretch of the change log, written and synced as one, so that
 * what it brings outlives a crash before LMDB has it:
 *
 *   | magic u32 | crc32 u32 | epoch u64 | sequence u64 | vbuckets u32 | entry bytes u32 |
 *   | for each vbucket whose history no block before it tells: vbid u16, zero u16, vbuuid u64 |
 *   | entries, as they lie in the change log |
 *
 * The checksum is of everything behind it. Numbers are big-endian but for those in the entries'
 * own heads, which are as this machine has them: little-endian. The epoch is that of the writer,
 * the sequence counts its blocks: a file is used again from its beginning, and what an earlier use
 * has left behind the newest block is told by them.
 */
import { crc32 } from '../checksum.ts'
import { writeSeqno, writeUint16, writeUint32, writeUint64 } from '../../protocol/bytes.ts'
import { setShared } from './copy-shared.ts'
import { entryHeaderLength, entryLength } from './log-segment.ts'
import { RecordView } from './record.ts'

export const journalFileNames = ['journal-0', 'journal-1'] as const
/**
 * At most. The more a commit has to bring, the fewer pages it writes for each change: with a million
 * documents being updated as fast as they are taken, files of 128 MiB instead of 32 nearly double that.
 */
export const journalFileBytes = 128 * 2 ** 20
/** What a file has from the beginning: all that most daemons ever need. */
export const journalFileBytesFirst = 32 * 2 ** 20
/** As much as a replay may have to bring. */
export const journalBytesMax = journalFileNames.length * journalFileBytes

const magic = 0x48464a31
const headLength = 32
const vbucketLength = 12
const checksummedFrom = 8
/** Up to here the memory of a block is used again. */
const keptBytesMax = 1024 * 1024

export interface BlockHead {
  readonly epoch: bigint
  readonly sequence: number
  readonly vbuuids: ReadonlyMap<number, bigint>
}

/** A block read back. */
export interface Block extends BlockHead {
  readonly entries: Buffer
}

/** At most. */
export function blockLength(vbuckets: number, entries: readonly Uint8Array[]): number {
  return headLength + vbuckets * vbucketLength + entries.reduce(addLength, 0)
}

/**
 * Encodes the blocks of one writer, each in the same memory: it is good until the next one. Blocks
 * are small and follow each other by the thousand in a second.
 */
export class BlockEncoder {
  #memory = Buffer.alloc(0)
  readonly #epoch: bigint

  constructor(epoch: bigint) {
    this.#epoch = epoch
  }

  /** The entries are copied: in the change log some of their words go on changing. */
  encode(
    sequence: number,
    vbuuids: ReadonlyMap<number, bigint>,
    entries: readonly Uint8Array[],
  ): Buffer {
    const entryBytes = entries.reduce(addLength, 0)
    const length = headLength + vbuuids.size * vbucketLength + entryBytes
    const block = this.#room(length)
    writeSeqno(block, 16, sequence)
    writeUint32(block, 24, vbuuids.size)
    writeUint32(block, 28, entryBytes)
    let at = headLength
    for (const [vbid, vbuuid] of vbuuids) {
      writeUint16(block, at, vbid)
      writeUint16(block, at + 2, 0)
      writeUint64(block, at + 4, vbuuid)
      at += vbucketLength
    }
    for (const bytes of entries) {
      setShared(bytes, block, at)
      at += bytes.length
    }
    writeUint32(block, 4, crc32(block.subarray(checksummedFrom)))
    return block
  }

  /** Has what all blocks begin with. */
  #room(length: number): Buffer {
    if (length <= this.#memory.length) return this.#memory.subarray(0, length)
    // What is large comes seldom, and is not held on to.
    const isKept = length <= keptBytesMax
    const memory = Buffer.allocUnsafeSlow(isKept ? Math.min(2 * length, keptBytesMax) : length)
    if (isKept) this.#memory = memory
    writeUint32(memory, 0, magic)
    writeUint64(memory, 8, this.#epoch)
    return memory.subarray(0, length)
  }
}

/** One block in memory of its own. */
export function encodeBlock(
  { epoch, sequence, vbuuids }: BlockHead,
  entries: readonly Uint8Array[],
): Buffer {
  return new BlockEncoder(epoch).encode(sequence, vbuuids, entries)
}

/** The blocks of one use of a file, oldest first, as far as they are whole. */
export function* readBlocks(file: Buffer): Generator<Block> {
  let before: BlockHead | undefined
  for (let at = 0; ;) {
    const block = readBlock(file, at)
    if (block === undefined) return
    const { head, length } = block
    if (before !== undefined && head.epoch !== before.epoch) return
    if (before !== undefined && head.sequence !== before.sequence + 1) return
    yield head
    before = head
    at += length
  }
}

function readBlock(file: Buffer, at: number): { head: Block; length: number } | undefined {
  if (at + headLength > file.length || file.readUInt32BE(at) !== magic) return undefined
  const count = file.readUInt32BE(at + 24)
  const entriesAt = at + headLength + count * vbucketLength
  const end = entriesAt + file.readUInt32BE(at + 28)
  if (end > file.length) return undefined
  const checksum = crc32(file.subarray(at + checksummedFrom, end))
  if (checksum !== file.readUInt32BE(at + 4)) return undefined
  const vbuuids = new Map<number, bigint>()
  for (let place = at + headLength; place < entriesAt; place += vbucketLength) {
    vbuuids.set(file.readUInt16BE(place), file.readBigUInt64BE(place + 4))
  }
  const epoch = file.readBigUInt64BE(at + 8)
  const sequence = Number(file.readBigUInt64BE(at + 16))
  const head = { epoch, sequence, vbuuids, entries: file.subarray(entriesAt, end) }
  return { head, length: end - at }
}

function addLength(sum: number, { length }: Uint8Array): number {
  return sum + length
}

/** Shows each record of a stretch of the change log, in one view. */
export function* recordsIn(entries: Buffer): Generator<RecordView> {
  const view = new RecordView()
  for (let at = 0; at < entries.length;) {
    const length = entries.readUInt32LE(at)
    yield view.at(entries, at + entryHeaderLength)
    at += entryLength(length)
  }
}
