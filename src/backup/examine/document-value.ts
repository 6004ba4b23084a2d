import { Datatype } from '../../../protocol/datatype.ts'
import { decodeXattrs, xattrSectionLength } from '../../../protocol/xattrs.ts'
import { decompressSnappy } from '../archive/compression.ts'
import type { ArchiveRecord } from '../archive/record.ts'
import { damaged } from '../errors.ts'

export interface DocumentValue {
  readonly value: Buffer
  /** Extended attributes: their JSON texts, by name. */
  readonly xattrs: ReadonlyMap<string, string>
}

/** What a client would get: decompressed, without the attributes in front. */
export async function documentValueOf(record: ArchiveRecord): Promise<DocumentValue> {
  const { datatype, value } = record
  const isCompressed = (datatype & Datatype.snappy) !== 0 && value.length > 0
  const bytes = isCompressed ? await decompressSnappy(value) : value
  if ((datatype & Datatype.xattr) === 0) return { value: bytes, xattrs: new Map() }
  const length = xattrSectionLength(bytes, 0, bytes.length)
  const decoded = length < 0 ? undefined : decodeXattrs(bytes.subarray(0, length))
  if (!decoded) throw damaged('the extended attributes of a document cannot be read')
  const xattrs = decoded.map(({ key, value }) => [key.toString(), value.toString()] as const)
  return { value: bytes.subarray(length), xattrs: new Map(xattrs) }
}
