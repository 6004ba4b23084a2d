import { readLeb128 } from '../leb128.ts'
import { readSeqno, readUint32, readUint64, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * RANGE_SCAN_CREATE (0xda), RANGE_SCAN_CONTINUE (0xdb), RANGE_SCAN_CANCEL (0xdc): the keys or
 * documents of a vbucket in the order of their keys, out of one snapshot.
 *
 * ```
 * create    value JSON, see RangeScanRequest       response  value | scan id, 16 bytes |
 * continue  extras | scan id, 16 bytes | items u32 | milliseconds u32 | bytes u32 |   0: no limit
 *           response  extras | content u32 |   value: keys, or documents, one behind the other
 * cancel    extras | scan id, 16 bytes |
 *
 * a key       | length LEB128 | key |
 * a document  | flags u32 | expiry u32 | seqno u64 | cas u64 | datatype u8 |
 *             | length LEB128 | key | length LEB128 | value |
 * ```
 *
 * The last answer to a CONTINUE has the status rangeScanMore or rangeScanComplete.
 */
export const rangeScanIdLength = 16
export const rangeScanContinueExtrasLength = 28
export const scannedMetaLength = 25

/** What the value of an answer holds. */
export const RangeScanContent = { keys: 0, documents: 1 } as const
export type RangeScanContent = (typeof RangeScanContent)[keyof typeof RangeScanContent]

export interface RangeScanContinue {
  /** Hexadecimal. */
  scanId: string
  itemsMax: number
  timeMaxMs: number
  bytesMax: number
}

export function encodeRangeScanContinue(fields: RangeScanContinue): Buffer {
  const extras = Buffer.alloc(rangeScanContinueExtrasLength)
  extras.set(Buffer.from(fields.scanId, 'hex'))
  writeUint32(extras, 16, fields.itemsMax)
  writeUint32(extras, 20, fields.timeMaxMs)
  writeUint32(extras, 24, fields.bytesMax)
  return extras
}

export function decodeRangeScanContinue(frame: Frame): RangeScanContinue | undefined {
  if (frame.extrasLength !== rangeScanContinueExtrasLength) return undefined
  return {
    scanId: idIn(frame.extras()),
    itemsMax: frame.extrasUint32(16),
    timeMaxMs: frame.extrasUint32(20),
    bytesMax: frame.extrasUint32(24),
  }
}

export function encodeRangeScanCancel(scanId: string): Buffer {
  return Buffer.from(scanId, 'hex')
}

export function decodeRangeScanCancel(frame: Frame): string | undefined {
  return frame.extrasLength === rangeScanIdLength ? idIn(frame.extras()) : undefined
}

function idIn(bytes: Buffer): string {
  return bytes.toString('hex', 0, rangeScanIdLength)
}

export interface ScannedDocument {
  key: Buffer
  flags: number
  expiry: number
  seqno: number
  cas: bigint
  datatype: number
  value: Buffer
}

/** The keys of an answer; `undefined` if one is cut. */
export function decodeScannedKeys(value: Buffer): Buffer[] | undefined {
  const keys: Buffer[] = []
  for (let at = 0; at < value.length;) {
    const key = piece(value, at)
    if (key === undefined) return undefined
    keys.push(key.bytes)
    at = key.end
  }
  return keys
}

/** The documents of an answer; `undefined` if one is cut. */
export function decodeScannedDocuments(value: Buffer): ScannedDocument[] | undefined {
  const documents: ScannedDocument[] = []
  for (let at = 0; at < value.length;) {
    if (at + scannedMetaLength > value.length) return undefined
    const key = piece(value, at + scannedMetaLength)
    const body = key && piece(value, key.end)
    if (body === undefined) return undefined
    documents.push({
      key: key!.bytes,
      flags: readUint32(value, at),
      expiry: readUint32(value, at + 4),
      seqno: readSeqno(value, at + 8),
      cas: readUint64(value, at + 16),
      datatype: value[at + 24]!,
      value: body.bytes,
    })
    at = body.end
  }
  return documents
}

/** What follows its length. */
function piece(bytes: Buffer, at: number): { bytes: Buffer; end: number } | undefined {
  const length = readLeb128(bytes, at, bytes.length)
  if (length === undefined) return undefined
  const start = at + length.length
  const end = start + length.value
  return end > bytes.length ? undefined : { bytes: bytes.subarray(start, end), end }
}
