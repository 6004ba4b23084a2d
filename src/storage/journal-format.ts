/**
 * The journal's blocks. Each is a stretch of the change log, written and synced as one, so that
 * what it brings outlives a crash before LMDB has it:
 *
 *   | magic u32 | crc32 u32 | epoch u64 | sequence u64 | vbuckets u32 | entry bytes u32 |
 *   | for each vbucket that has changes here: vbid u16, zero u16, vbuuid u64 |
 *   | entries, as they lie in the change log |
 *
 * The checksum is of everything behind it. Numbers are big-endian but for those in the entries'
 * own heads, which are as this machine has them: little-endian. The epoch is that of the writer, the sequence counts its blocks: a file is used
 * again from its beginning, and what an earlier use has left behind the newest block is told by them.
 */
import { crc32 } from 'node:zlib'
import { entryHeaderLength, entryLength } from './log-segment.ts'
import { RecordView } from './record.ts'

const magic = 0x48464a31
const headLength = 32
const vbucketLength = 12
const checksummedFrom = 8

export interface BlockHead {
  readonly epoch: bigint
  readonly sequence: number
  readonly vbuuids: ReadonlyMap<number, bigint>
}

/** A block read back. */
export interface Block extends BlockHead {
  readonly entries: Buffer
}

/** What stands in front of the entries. */
export function encodeBlockHead(
  { epoch, sequence, vbuuids }: BlockHead,
  entries: readonly Uint8Array[],
): Buffer {
  const head = Buffer.alloc(headLength + vbuuids.size * vbucketLength)
  head.writeUInt32BE(magic, 0)
  head.writeBigUInt64BE(epoch, 8)
  head.writeBigUInt64BE(BigInt(sequence), 16)
  head.writeUInt32BE(vbuuids.size, 24)
  head.writeUInt32BE(
    entries.reduce((sum, { length }) => sum + length, 0),
    28,
  )
  let at = headLength
  for (const [vbid, vbuuid] of vbuuids) {
    head.writeUInt16BE(vbid, at)
    head.writeBigUInt64BE(vbuuid, at + 4)
    at += vbucketLength
  }
  const checksum = entries.reduce((sum, bytes) => crc32(bytes, sum), crc32(head.subarray(8)))
  head.writeUInt32BE(checksum, 4)
  return head
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

/** Shows each record of a stretch of the change log, in one view. */
export function* recordsIn(entries: Buffer): Generator<RecordView> {
  const view = new RecordView()
  for (let at = 0; at < entries.length;) {
    const length = entries.readUInt32LE(at)
    yield view.at(entries, at + entryHeaderLength)
    at += entryLength(length)
  }
}
