/**
 * The attributes in front of a value, as they come over the wire and are stored:
 *
 *   | u32 length of all that follows of them |
 *   | u32 length of what follows of this one | name | 0 | value, JSON | 0 |   and so on
 */
import { readUint32 } from '../../protocol/bytes.ts'
import { isJson } from './json-text.ts'

const lengthBytes = 4

/** Whether a value begins with attributes that are whole. An empty section is none. */
export function hasWholeXattrs(bytes: Uint8Array, start: number, length: number): boolean {
  if (length < lengthBytes) return false
  const sectionEnd = start + lengthBytes + readUint32(bytes, start)
  if (sectionEnd > start + length) return false
  const names = new Set<string>()
  let at = start + lengthBytes
  while (at < sectionEnd) {
    if (sectionEnd - at < lengthBytes) return false
    const end = at + lengthBytes + readUint32(bytes, at)
    if (end > sectionEnd) return false
    const name = nameOf(bytes, at + lengthBytes, end)
    if (name === undefined || names.has(name)) return false
    names.add(name)
    at = end
  }
  return true
}

/** The name of one attribute; undefined when it has none, or its value is no JSON text. */
function nameOf(bytes: Uint8Array, start: number, end: number): string | undefined {
  const nameEnd = bytes.indexOf(0, start)
  if (nameEnd <= start || nameEnd + 1 >= end || bytes[end - 1] !== 0) return undefined
  const valueStart = nameEnd + 1
  if (!isJson(bytes, valueStart, end - 1 - valueStart)) return undefined
  return Buffer.from(bytes.subarray(start, nameEnd)).toString('latin1')
}
