import {
  readSeqno,
  readUint16,
  readUint32,
  writeSeqno,
  writeUint16,
  writeUint32,
} from '../../../protocol/bytes.ts'
import { damaged } from '../errors.ts'
import { freeMemory } from '../free-memory.ts'
import { codecOf, Compression } from './compression.ts'
import { crc32c } from '../../checksum.ts'
import type { ObjectCipher } from './object-cipher.ts'

/**
 * What an object is made of: records that follow each other, or the index of a segment.
 *
 * ```
 *        0               4
 *       +---------------+---------------+
 *     0 | stored length | raw length    |   of the payload; of what it decompresses to
 *       +---+---+-------+---------------+
 *     8 | k | c |  zero | record count  |   kind, compression
 *       +---+---+-------+---------------+
 *    16 | first seqno                   |
 *       +---------------+---------------+
 *    24 | last seqno                    |
 *       +---------------+---------------+
 *    32 | CRC-32C       |                   of bytes 0 to 31
 *       +---------------+
 *    36 | payload
 * ```
 *
 * In an encrypted object the payload is a nonce of 12 bytes, the encrypted bytes, and a tag of 16;
 * authenticated with it are the block's offset in the object (8 bytes) and header bytes 0 to 31.
 */
export const blockHeaderLength = 36
const checkedLength = 32

export const BlockKind = { records: 1, index: 2 } as const
export type BlockKind = (typeof BlockKind)[keyof typeof BlockKind]

/** A record is at most 2 GiB; more than a length that nothing writes is damage. */
const payloadLengthMax = 2 ** 31 - 1

export interface BlockSummary {
  readonly kind: BlockKind
  readonly recordCount: number
  readonly firstSeqno: number
  readonly lastSeqno: number
}

export interface BlockHeader extends BlockSummary {
  readonly storedLength: number
  readonly rawLength: number
  readonly compression: number
}

/** A payload that may still have to be encrypted, and its header. */
export interface CompressedBlock extends BlockSummary {
  readonly rawLength: number
  readonly compression: number
  readonly payload: Buffer
}

/** Compresses a payload, unless that makes it longer. */
export async function compressBlock(
  raw: Buffer,
  compression: number,
  summary: BlockSummary,
): Promise<CompressedBlock> {
  const compressed = await codecOf(compression).compress(raw)
  const pays = compressed.length < raw.length
  if (!pays && compressed !== raw) freeMemory(compressed)
  return {
    ...summary,
    rawLength: raw.length,
    compression: pays ? compression : Compression.none,
    payload: pays ? compressed : raw,
  }
}

/** The block's bytes, for its place at `offset` in the object. */
export function sealBlock(
  block: CompressedBlock,
  offset: number,
  cipher: ObjectCipher | undefined,
): [Buffer, Buffer] {
  const header = Buffer.alloc(blockHeaderLength)
  writeUint32(header, 0, block.payload.length + (cipher?.overheadLength ?? 0))
  writeUint32(header, 4, block.rawLength)
  header[8] = block.kind
  header[9] = block.compression
  writeUint16(header, 10, 0)
  writeUint32(header, 12, block.recordCount)
  writeSeqno(header, 16, block.firstSeqno)
  writeSeqno(header, 24, block.lastSeqno)
  writeUint32(header, checkedLength, crc32c(header, 0, checkedLength))
  const payload = cipher
    ? cipher.encrypt(block.payload, offset, header.subarray(0, checkedLength))
    : block.payload
  return [header, payload]
}

/** Reads a header; `bytes` has at least its length. */
export function decodeBlockHeader(bytes: Buffer): BlockHeader {
  if (crc32c(bytes, 0, checkedLength) !== readUint32(bytes, checkedLength))
    throw damaged('the checksum of a block header is wrong')
  const kind = bytes[8]!
  if (kind !== BlockKind.records && kind !== BlockKind.index)
    throw damaged(`a block of unknown kind ${kind}`)
  const header = {
    storedLength: readUint32(bytes, 0),
    rawLength: readUint32(bytes, 4),
    kind: kind as BlockKind,
    compression: bytes[9]!,
    recordCount: readUint32(bytes, 12),
    firstSeqno: readSeqno(bytes, 16),
    lastSeqno: readSeqno(bytes, 24),
  }
  if (readUint16(bytes, 10) !== 0) throw damaged('a block header says what is unknown here')
  if (header.storedLength > payloadLengthMax || header.rawLength > payloadLengthMax)
    throw damaged('a block of an impossible length')
  return header
}

/** What was given to `compressBlock`. `headerBytes` are those `header` was read from. */
export async function openBlock(
  header: BlockHeader,
  headerBytes: Buffer,
  payload: Buffer,
  offset: number,
  cipher: ObjectCipher | undefined,
): Promise<Buffer> {
  const compressed = cipher
    ? cipher.decrypt(payload, offset, headerBytes.subarray(0, checkedLength))
    : payload
  let raw: Buffer
  try {
    raw = await codecOf(header.compression).decompress(compressed, header.rawLength)
  } catch (error) {
    throw damaged(`a block cannot be decompressed: ${(error as Error).message}`, error)
  }
  if (raw.length !== header.rawLength) throw damaged('a block has not the length it should have')
  return raw
}
