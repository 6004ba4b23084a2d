import { readUint16, readUint32, writeUint16, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * The value of SUBDOC_MULTI_LOOKUP and SUBDOC_MULTI_MUTATION: one operation behind the other.
 *
 * ```
 * lookup     | opcode u8 | path flags u8 | path length u16 | path |
 * mutation   | opcode u8 | path flags u8 | path length u16 | value length u32 | path | value |
 * ```
 */
export interface SubdocLookupSpec {
  opcode: number
  /** Bits of `SubdocPathFlag`. */
  pathFlags: number
  path: Buffer
}

export interface SubdocMutationSpec extends SubdocLookupSpec {
  value: Buffer
}

const lookupHeadLength = 4
const mutationHeadLength = 8

export function encodeSubdocLookups(specs: readonly SubdocLookupSpec[]): Buffer {
  return Buffer.concat(specs.map(spec => Buffer.concat([head(spec, lookupHeadLength), spec.path])))
}

export function encodeSubdocMutations(specs: readonly SubdocMutationSpec[]): Buffer {
  const encoded = specs.map(spec => {
    const bytes = head(spec, mutationHeadLength)
    writeUint32(bytes, lookupHeadLength, spec.value.length)
    return Buffer.concat([bytes, spec.path, spec.value])
  })
  return Buffer.concat(encoded)
}

function head(spec: SubdocLookupSpec, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  bytes[0] = spec.opcode
  bytes[1] = spec.pathFlags
  writeUint16(bytes, 2, spec.path.length)
  return bytes
}

/** Paths are views of the frame. At least one spec has to be there. */
export function decodeSubdocLookups(frame: Frame): SubdocLookupSpec[] | undefined {
  const specs: SubdocLookupSpec[] = []
  const value = frame.value()
  let at = 0
  while (at < value.length) {
    if (value.length - at < lookupHeadLength) return undefined
    const pathStart = at + lookupHeadLength
    const end = pathStart + readUint16(value, at + 2)
    if (end > value.length) return undefined
    specs.push({
      opcode: value[at]!,
      pathFlags: value[at + 1]!,
      path: value.subarray(pathStart, end),
    })
    at = end
  }
  return specs.length > 0 ? specs : undefined
}

/** The same for mutations: values are views, too. */
export function decodeSubdocMutations(frame: Frame): SubdocMutationSpec[] | undefined {
  const specs: SubdocMutationSpec[] = []
  const value = frame.value()
  let at = 0
  while (at < value.length) {
    if (value.length - at < mutationHeadLength) return undefined
    const pathStart = at + mutationHeadLength
    const pathEnd = pathStart + readUint16(value, at + 2)
    const end = pathEnd + readUint32(value, at + lookupHeadLength)
    if (end > value.length) return undefined
    specs.push({
      opcode: value[at]!,
      pathFlags: value[at + 1]!,
      path: value.subarray(pathStart, pathEnd),
      value: value.subarray(pathEnd, end),
    })
    at = end
  }
  return specs.length > 0 ? specs : undefined
}
