import { writeUint16, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * Sub-document commands: what they have in front of the key.
 *
 * ```
 * one path      extras | path length u16 | path flags u8 | expiry u32 | user flags u32 | doc flags u8 |
 *               key, path, value
 * several       extras | expiry u32 | user flags u32 | doc flags u8 |
 *               key, specs as `subdoc-specs.ts` has them
 * ```
 *
 * From the expiry on all is optional: user flags come only with an expiry, lookups have neither.
 */
export const SubdocPathFlag = {
  /** Make the objects on the way that are not there. */
  makeParents: 0x01,
  /** The path is one of extended attributes: it begins with the key of one. */
  xattr: 0x04,
  /** The value is a macro, and what it stands for is stored. */
  expandMacros: 0x10,
  /** The value is bytes, which an attribute holds as Base64. */
  binaryValue: 0x20,
} as const

export const SubdocDocFlag = {
  /** Make the document if it is not there. */
  makeDocument: 0x01,
  /** Make the document; it must not be there. */
  add: 0x02,
  /** See tombstones, too. */
  accessDeleted: 0x04,
  /** A document that is made begins as a tombstone. */
  createAsDeleted: 0x08,
  /** The tombstone becomes a document. */
  revive: 0x10,
  /** Read a replica's copy. */
  replicaRead: 0x20,
} as const

export const subdocPathBytesMax = 1024
export const subdocSpecsMax = 16

export const subdocLookupExtrasLengths: readonly number[] = [3, 4]
export const subdocMutationExtrasLengths: readonly number[] = [3, 4, 7, 8, 11, 12]
export const subdocMultiLookupExtrasLengths: readonly number[] = [0, 1]
export const subdocMultiMutationExtrasLengths: readonly number[] = [0, 1, 4, 5, 8, 9]

export interface SubdocMultiExtras {
  expiry: number | undefined
  /** The client's own, for the document; undefined: it keeps those it has. */
  userFlags: number | undefined
  /** Bits of `SubdocDocFlag`. */
  docFlags: number | undefined
}

export interface SubdocExtras extends SubdocMultiExtras {
  pathLength: number
  /** Bits of `SubdocPathFlag`. */
  pathFlags: number
}

const pathFieldsLength = 3

export function encodeSubdocExtras(fields: SubdocExtras): Buffer {
  const path = Buffer.alloc(pathFieldsLength)
  writeUint16(path, 0, fields.pathLength)
  path[2] = fields.pathFlags
  return Buffer.concat([path, encodeSubdocMultiExtras(fields)])
}

/** Undefined also if the path is longer than what comes behind the key. */
export function decodeSubdocExtras(frame: Frame): SubdocExtras | undefined {
  if (!subdocMutationExtrasLengths.includes(frame.extrasLength)) return undefined
  const pathLength = frame.extrasUint16(0)
  if (pathLength > frame.valueLength) return undefined
  const pathFlags = frame.bytes[frame.extrasStart + 2]!
  return { pathLength, pathFlags, ...optionalExtras(frame, pathFieldsLength) }
}

export function encodeSubdocMultiExtras(fields: SubdocMultiExtras): Buffer {
  const { expiry, userFlags, docFlags } = fields
  const words =
    userFlags !== undefined ? [expiry ?? 0, userFlags] : expiry !== undefined ? [expiry] : []
  const extras = Buffer.alloc(words.length * 4 + (docFlags === undefined ? 0 : 1))
  for (const [index, word] of words.entries()) writeUint32(extras, index * 4, word)
  if (docFlags !== undefined) extras[extras.length - 1] = docFlags
  return extras
}

export function decodeSubdocMultiExtras(frame: Frame): SubdocMultiExtras | undefined {
  if (!subdocMultiMutationExtrasLengths.includes(frame.extrasLength)) return undefined
  return optionalExtras(frame, 0)
}

function optionalExtras(frame: Frame, at: number): SubdocMultiExtras {
  const length = frame.extrasLength - at
  return {
    expiry: length >= 4 ? frame.extrasUint32(at) : undefined,
    userFlags: length >= 8 ? frame.extrasUint32(at + 4) : undefined,
    docFlags: length % 4 === 1 ? frame.bytes[frame.keyStart - 1] : undefined,
  }
}
