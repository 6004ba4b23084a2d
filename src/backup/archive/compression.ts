import { promisify } from 'node:util'
import { constants, deflateRaw, inflateRaw } from 'node:zlib'
import { compressSync as compressSnappy, uncompressSync as uncompressSnappy } from 'snappy'
import { BackupError, damaged } from '../errors.ts'
import { Compression } from './compression-name.ts'

export { Compression, type CompressionName } from './compression-name.ts'

interface Codec {
  /** To a buffer that is the caller's own. */
  compress(bytes: Buffer): Promise<Buffer>
  /** To exactly `length` bytes, or throws or comes out at another length. */
  decompress(bytes: Buffer, length: number): Promise<Buffer>
}

const deflateAsync = promisify(deflateRaw)
const inflateAsync = promisify(inflateRaw)

const codecs: readonly Codec[] = [
  { compress: bytes => Promise.resolve(bytes), decompress: bytes => Promise.resolve(bytes) },
  {
    compress: bytes => deflateAsync(bytes, { level: constants.Z_BEST_SPEED }) as Promise<Buffer>,
    decompress: (bytes, length) =>
      inflateAsync(bytes, { maxOutputLength: Math.max(1, length) }) as Promise<Buffer>,
  },
  {
    // Both here: in the thread pool they took three times as much of the processors, and what they answer
    // with has memory that neither counts nor can be given back.
    async compress(bytes) {
      return compressSnappy(bytes, { copyOutputData: true })
    },
    async decompress(bytes, length) {
      if (snappyLength(bytes) !== length) throw new Error('it says another length')
      return uncompressSnappy(bytes, { asBuffer: true, copyOutputData: true }) as Buffer
    },
  },
]

export function codecOf(compression: number): Codec {
  const codec = codecs[compression]
  if (!codec) throw new BackupError('format', `blocks are compressed in a way unknown here`)
  return codec
}

/** More than any server takes as a value. */
const valueBytesMax = 2 ** 27

/** Of a value of a document, which tells its own length. */
export async function decompressSnappy(bytes: Buffer): Promise<Buffer> {
  const length = snappyLength(bytes)
  if (length < 0 || length > valueBytesMax) throw damaged('a compressed value of no sane length')
  try {
    return await codecOf(Compression.snappy).decompress(bytes, length)
  } catch (error) {
    throw damaged(`a value cannot be decompressed: ${(error as Error).message}`, error)
  }
}

/** Snappy allocates what the first bytes say: they are looked at before it does. */
function snappyLength(bytes: Buffer): number {
  let length = 0
  for (let at = 0; at < 5 && at < bytes.length; at++) {
    length += (bytes[at]! & 0x7f) * 2 ** (7 * at)
    if (bytes[at]! < 0x80) return length
  }
  return -1
}
