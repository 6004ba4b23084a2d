/**
 * Extended attributes: named JSON values that lie in front of the value of a document whose
 * datatype has the bit `xattr`. Numbers are big-endian.
 *
 * ```
 *   +--------------------+
 *   | section length u32 |   of all that follows up to the value
 *   +--------------------+-----+---+-------+---+
 *   | pair length u32    | key | 0 | value | 0 |   once for each; the length is that of the rest
 *   +--------------------+-----+---+-------+---+
 *   | value of the document …
 * ```
 *
 * A key has up to 15 bytes of UTF-8 and begins with no punctuation but `_`, which makes it a system
 * attribute: such a one outlives its document on the tombstone. Keys with `$` are virtual: the
 * server makes them up, and they never lie here.
 */
import { isUtf8 } from 'node:buffer'
import { readUint32, writeUint32 } from './bytes.ts'

export const xattrKeyBytesMax = 15
const lengthBytes = 4

export interface Xattr {
  key: Buffer
  /** JSON text. */
  value: Buffer
}

const underscore = 0x5f
const dollar = 0x24
const dot = 0x2e
const bracket = 0x5b

export function isSystemXattr(key: Uint8Array): boolean {
  return key[0] === underscore
}

export function isVirtualXattr(key: Uint8Array): boolean {
  return key[0] === dollar
}

/** Bytes of the section in front of a value, its length included; -1 if it is longer than all. */
export function xattrSectionLength(bytes: Uint8Array, start: number, end: number): number {
  if (end - start < lengthBytes) return -1
  const length = lengthBytes + readUint32(bytes, start)
  return length <= end - start ? length : -1
}

/**
 * How many bytes at the start of a path are the attribute's key: it ends at the first `.` or `[`.
 * -1 if that is no key.
 */
export function xattrKeyLength(path: Buffer): number {
  const at = path.findIndex(byte => byte === dot || byte === bracket)
  const length = at < 0 ? path.length : at
  const isNamed = length > (isSystemXattr(path) || isVirtualXattr(path) ? 1 : 0)
  if (!isNamed || length > xattrKeyBytesMax) return -1
  if (!mayBegin(path[0]!) || path.includes(0) || !isUtf8(path)) return -1
  return length
}

/** No control character, and of the punctuation only the two that say what kind it is. */
function mayBegin(byte: number): boolean {
  if (byte === underscore || byte === dollar) return true
  if (byte < 0x20 || byte === 0x7f) return false
  return byte === 0x20 || byte > 0x7f || /[0-9A-Za-z]/.test(String.fromCharCode(byte))
}

/**
 * The attributes of a whole section, as views of it; undefined if it is malformed or names one
 * twice. Whether values are JSON is not looked at.
 */
export function decodeXattrs(section: Buffer): Xattr[] | undefined {
  if (xattrSectionLength(section, 0, section.length) !== section.length) return undefined
  const xattrs: Xattr[] = []
  const names = new Set<string>()
  let at = lengthBytes
  while (at < section.length) {
    if (section.length - at < lengthBytes) return undefined
    const start = at + lengthBytes
    const end = start + readUint32(section, at)
    if (end > section.length || end - start < 3) return undefined
    const keyEnd = section.indexOf(0, start)
    // The second of the two zeros is the last byte of the pair, and there is no third.
    if (keyEnd < 0 || section.indexOf(0, keyEnd + 1) !== end - 1) return undefined
    const key = section.subarray(start, keyEnd)
    if (isVirtualXattr(key) || xattrKeyLength(key) !== key.length) return undefined
    const name = key.toString('latin1')
    if (names.has(name)) return undefined
    names.add(name)
    xattrs.push({ key, value: section.subarray(keyEnd + 1, end - 1) })
    at = end
  }
  return xattrs
}

/** The section for these attributes; empty when there are none, and then there is no datatype bit. */
export function encodeXattrs(xattrs: readonly Xattr[]): Buffer {
  if (xattrs.length === 0) return Buffer.alloc(0)
  const lengths = xattrs.map(({ key, value }) => key.length + value.length + 2)
  const total = lengths.reduce((sum, length) => sum + lengthBytes + length, lengthBytes)
  const section = Buffer.alloc(total)
  writeUint32(section, 0, total - lengthBytes)
  let at = lengthBytes
  for (const [index, { key, value }] of xattrs.entries()) {
    writeUint32(section, at, lengths[index]!)
    section.set(key, at + lengthBytes)
    section.set(value, at + lengthBytes + key.length + 1)
    at += lengthBytes + lengths[index]!
  }
  return section
}

/** What of a section stays when its document is deleted; nothing of a malformed one. */
export function systemXattrs(section: Buffer): Buffer {
  return encodeXattrs((decodeXattrs(section) ?? []).filter(({ key }) => isSystemXattr(key)))
}
