import { decodeXattrs, systemXattrs, xattrSectionLength } from '../../protocol/xattrs.ts'
import { isJson } from './json-text.ts'

/** System attributes have room of their own, so that a full document can still have some. */
export const systemXattrBytesMax = 1024 * 1024

/** Whether a value begins with attributes that may be stored. An empty section is none. */
export function hasWholeXattrs(bytes: Buffer, start: number, length: number): boolean {
  const sectionLength = xattrSectionLength(bytes, start, start + length)
  if (sectionLength < 0) return false
  const section = bytes.subarray(start, start + sectionLength)
  const xattrs = decodeXattrs(section)
  if (xattrs === undefined) return false
  if (!xattrs.every(({ value }) => isJson(value, 0, value.length))) return false
  return systemXattrs(section).length <= systemXattrBytesMax
}
