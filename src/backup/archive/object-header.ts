import { readUint16, readUint32, writeUint16, writeUint32 } from '../../../protocol/bytes.ts'
import { BackupError, damaged } from '../errors.ts'
import { crc32c } from '../../checksum.ts'
import { Cipher } from './object-cipher.ts'

/**
 * What an object begins with.
 *
 * ```
 *        0               4
 *       +---------------+---------------+
 *     0 | "HFBACKUP"                    |
 *       +-------+---+---+-------+-------+
 *     8 |version| c | 0 | vbid  | zero  |   cipher
 *       +-------+---+---+-------+-------+
 *    16 | salt, 16 bytes: of its key; zeros if it is not encrypted
 *       +---------------+---------------+
 *    32 | CRC-32C       |                   of bytes 0 to 31
 *       +---------------+
 * ```
 */
export const objectHeaderLength = 36
export const saltLength = 16
export const objectVersion = 1
const checkedLength = 32
const magic = Buffer.from('HFBACKUP')

export interface ObjectHeader {
  readonly vbid: number
  readonly cipher: Cipher
  readonly salt: Uint8Array
}

export function encodeObjectHeader({ vbid, cipher, salt }: ObjectHeader): Buffer {
  const bytes = Buffer.alloc(objectHeaderLength)
  bytes.set(magic)
  writeUint16(bytes, 8, objectVersion)
  bytes[10] = cipher
  writeUint16(bytes, 12, vbid)
  bytes.set(salt, 16)
  writeUint32(bytes, checkedLength, crc32c(bytes, 0, checkedLength))
  return bytes
}

/** `bytes` has at least the header's length. */
export function decodeObjectHeader(bytes: Buffer): ObjectHeader {
  if (!bytes.subarray(0, magic.length).equals(magic))
    throw new BackupError('format', 'it is no data object of a backup')
  if (crc32c(bytes, 0, checkedLength) !== readUint32(bytes, checkedLength))
    throw damaged('the checksum of the object header is wrong')
  const version = readUint16(bytes, 8)
  if (version !== objectVersion)
    throw new BackupError('format', `version ${version} of data objects is unknown here`)
  const cipher = bytes[10]!
  if (cipher !== Cipher.none && cipher !== Cipher.aes256Gcm)
    throw new BackupError('format', `cipher ${cipher} is unknown here`)
  const salt = Buffer.from(bytes.subarray(16, 16 + saltLength))
  return { vbid: readUint16(bytes, 12), cipher: cipher as Cipher, salt }
}
