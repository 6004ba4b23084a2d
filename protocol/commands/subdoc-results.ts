import { readUint16, readUint32, writeUint16, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { Status } from '../status.ts'

/**
 * The value of the answers to SUBDOC_MULTI_LOOKUP and SUBDOC_MULTI_MUTATION.
 *
 * ```
 * lookup     | status u16 | value length u32 | value |                 one for each spec, in order
 * mutation   | index u8 | status u16 | value length u32 | value |      of specs that have a value
 * a failure  | index u8 | status u16 |                                 of the first that failed
 * ```
 */
export interface SubdocLookupResult {
  /** A `Status`. */
  status: number
  value: Uint8Array
}

export interface SubdocMutationResult extends SubdocLookupResult {
  index: number
}

const lookupHeadLength = 6
const mutationHeadLength = 7
const failureLength = 3

export function encodeSubdocLookupResults(results: readonly SubdocLookupResult[]): Buffer {
  const length = results.reduce((sum, { value }) => sum + lookupHeadLength + value.length, 0)
  const bytes = Buffer.allocUnsafe(length)
  let at = 0
  for (const { status, value } of results) {
    writeUint16(bytes, at, status)
    writeUint32(bytes, at + 2, value.length)
    bytes.set(value, at + lookupHeadLength)
    at += lookupHeadLength + value.length
  }
  return bytes
}

export function decodeSubdocLookupResults(frame: Frame): SubdocLookupResult[] | undefined {
  const bytes = frame.value()
  const results: SubdocLookupResult[] = []
  let at = 0
  while (at < bytes.length) {
    if (bytes.length - at < lookupHeadLength) return undefined
    const start = at + lookupHeadLength
    const end = start + readUint32(bytes, at + 2)
    if (end > bytes.length) return undefined
    results.push({ status: readUint16(bytes, at), value: bytes.subarray(start, end) })
    at = end
  }
  return results
}

/** A result that is no success has no value: it says why nothing has been changed. */
export function encodeSubdocMutationResults(results: readonly SubdocMutationResult[]): Buffer {
  const encoded = results.map(({ index, status, value }) => {
    const bytes = Buffer.alloc(status === Status.success ? mutationHeadLength : failureLength)
    bytes[0] = index
    writeUint16(bytes, 1, status)
    if (status !== Status.success) return bytes
    writeUint32(bytes, failureLength, value.length)
    return Buffer.concat([bytes, value])
  })
  return Buffer.concat(encoded)
}

export function decodeSubdocMutationResults(frame: Frame): SubdocMutationResult[] | undefined {
  const bytes = frame.value()
  const results: SubdocMutationResult[] = []
  let at = 0
  while (at < bytes.length) {
    if (bytes.length - at < failureLength) return undefined
    const index = bytes[at]!
    const status = readUint16(bytes, at + 1)
    const isFailure = status !== Status.success
    const start = at + (isFailure ? failureLength : mutationHeadLength)
    if (start > bytes.length) return undefined
    const end = start + (isFailure ? 0 : readUint32(bytes, at + failureLength))
    if (end > bytes.length) return undefined
    results.push({ index, status, value: bytes.subarray(start, end) })
    at = end
  }
  return results
}
