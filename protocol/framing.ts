import { readUint16, writeUint16 } from './bytes.ts'
import type { Frame } from './frame.ts'

/**
 * Framing extras: small typed elements between header and extras of frames with an alternative
 * magic.
 *
 * ```
 *      7     4 3     0
 *     +-------+-------+------------------------+
 *     |  id   | length|  length bytes of data  |   and so on, to the end of the framing extras
 *     +-------+-------+------------------------+
 * ```
 *
 * A nibble of 15 means "15 plus the next byte", the byte for the id before that for the length.
 */
export const FramingId = {
  barrier: 0,
  durability: 1,
  streamId: 2,
  impersonate: 4,
  preserveExpiry: 5,
  impersonateExtraPrivilege: 6,
  impersonateTokenAuthId: 7,
} as const
export type FramingId = (typeof FramingId)[keyof typeof FramingId]

/** Ids in responses, a number space of their own. */
export const ResponseFramingId = {
  serverDuration: 0,
  readUnits: 1,
  writeUnits: 2,
  throttleDuration: 3,
} as const
export type ResponseFramingId = (typeof ResponseFramingId)[keyof typeof ResponseFramingId]

/** What has to hold before a mutation is acknowledged. */
export const DurabilityLevel = {
  none: 0,
  majority: 1,
  majorityAndPersistOnMaster: 2,
  persistToMajority: 3,
} as const
export type DurabilityLevel = (typeof DurabilityLevel)[keyof typeof DurabilityLevel]

/** What a request's framing extras ask for. One object can be decoded into again and again. */
export class RequestFraming {
  /** Runs alone: everything before it is finished first, nothing after it starts earlier. */
  barrier = false
  durabilityLevel: DurabilityLevel = DurabilityLevel.none
  /** 0: the server's default. */
  durabilityTimeoutMs = 0
  /** The DCP stream meant, on connections with several per vbucket; 0: none given. */
  streamId = 0
  /** Act as this user; a leading `^` marks an external one. */
  impersonate: string | undefined = undefined
  impersonateExtraPrivileges: string[] = []
  /** 0: none given. */
  impersonateTokenAuthId = 0
  /** Keep the expiry the document has. */
  preserveExpiry = false

  reset(): void {
    this.barrier = false
    this.durabilityLevel = DurabilityLevel.none
    this.durabilityTimeoutMs = 0
    this.streamId = 0
    this.impersonate = undefined
    if (this.impersonateExtraPrivileges.length > 0) this.impersonateExtraPrivileges = []
    this.impersonateTokenAuthId = 0
    this.preserveExpiry = false
  }
}

/**
 * `malformed`: lengths or values are wrong (answer invalidArguments); `durability-level`: there is
 * no such level (durabilityInvalidLevel); `unknown-id`: nobody knows the element
 * (unknownFrameInfo).
 */
export type FramingErrorKind = 'malformed' | 'durability-level' | 'unknown-id'

export interface FramingError {
  readonly kind: FramingErrorKind
  /** Of the element at fault; -1 if not even that could be read. */
  readonly id: number
}

/** A cursor over elements, reused so that decoding allocates nothing. */
const element = { id: 0, start: 0, length: 0, next: 0 }

/** Reads the element at `at` into `element`; false if it does not fit before `end`. */
function readElement(bytes: Uint8Array, at: number, end: number): boolean {
  const first = bytes[at]!
  let next = at + 1
  let id = first >> 4
  let length = first & 0x0f
  element.id = -1
  if (id === 15) {
    if (next >= end) return false
    id += bytes[next++]!
  }
  element.id = id
  if (length === 15) {
    if (next >= end) return false
    length += bytes[next++]!
  }
  element.start = next
  element.length = length
  element.next = next + length
  return element.next <= end
}

/** Reads a request's framing extras into `target`, which is reset first. */
export function decodeRequestFraming(
  frame: Frame,
  target: RequestFraming,
): FramingError | undefined {
  target.reset()
  const { bytes, framingStart } = frame
  const end = framingStart + frame.framingLength
  let at = framingStart
  while (at < end) {
    const kind = readElement(bytes, at, end) ? decodeElement(bytes, target) : 'malformed'
    if (kind !== undefined) return { kind, id: element.id }
    at = element.next
  }
  return undefined
}

function decodeElement(bytes: Buffer, target: RequestFraming): FramingErrorKind | undefined {
  const { id, start, length } = element
  switch (id) {
    case FramingId.barrier:
      target.barrier = true
      return length === 0 ? undefined : 'malformed'
    case FramingId.durability:
      return decodeDurability(bytes, target)
    case FramingId.streamId:
      if (length !== 2) return 'malformed'
      target.streamId = readUint16(bytes, start)
      return undefined
    case FramingId.impersonate:
      if (length === 0) return 'malformed'
      target.impersonate = bytes.toString('utf8', start, start + length)
      return undefined
    case FramingId.preserveExpiry:
      target.preserveExpiry = true
      return length === 0 ? undefined : 'malformed'
    case FramingId.impersonateExtraPrivilege:
      if (length === 0) return 'malformed'
      target.impersonateExtraPrivileges.push(bytes.toString('utf8', start, start + length))
      return undefined
    case FramingId.impersonateTokenAuthId:
      if (length !== 2) return 'malformed'
      target.impersonateTokenAuthId = readUint16(bytes, start)
      return undefined
    default:
      return 'unknown-id'
  }
}

function decodeDurability(bytes: Buffer, target: RequestFraming): FramingErrorKind | undefined {
  const { start, length } = element
  if (length !== 1 && length !== 3) return 'malformed'
  const level = bytes[start]!
  if (level < DurabilityLevel.majority || level > DurabilityLevel.persistToMajority) {
    return 'durability-level'
  }
  target.durabilityLevel = level as DurabilityLevel
  if (length === 1) return undefined
  const timeoutMs = readUint16(bytes, start + 1)
  target.durabilityTimeoutMs = timeoutMs
  // Zero and all ones are reserved: "default" and "for ever" are not for clients to ask for.
  return timeoutMs === 0 || timeoutMs === 0xffff ? 'malformed' : undefined
}

/** Encodes the parts of `framing` that are not at their defaults. */
export function encodeRequestFraming(framing: Partial<Omit<RequestFraming, 'reset'>>): Buffer {
  const parts: Buffer[] = []
  if (framing.barrier) parts.push(encodeElement(FramingId.barrier, Buffer.alloc(0)))
  if (framing.durabilityLevel) {
    const timeoutMs = framing.durabilityTimeoutMs ?? 0
    const level = Buffer.of(framing.durabilityLevel)
    const data = timeoutMs > 0 ? Buffer.concat([level, uint16(timeoutMs)]) : level
    parts.push(encodeElement(FramingId.durability, data))
  }
  if (framing.streamId) parts.push(encodeElement(FramingId.streamId, uint16(framing.streamId)))
  if (framing.impersonate) {
    parts.push(encodeElement(FramingId.impersonate, Buffer.from(framing.impersonate)))
  }
  if (framing.preserveExpiry) parts.push(encodeElement(FramingId.preserveExpiry, Buffer.alloc(0)))
  for (const privilege of framing.impersonateExtraPrivileges ?? []) {
    parts.push(encodeElement(FramingId.impersonateExtraPrivilege, Buffer.from(privilege)))
  }
  if (framing.impersonateTokenAuthId) {
    const data = uint16(framing.impersonateTokenAuthId)
    parts.push(encodeElement(FramingId.impersonateTokenAuthId, data))
  }
  return Buffer.concat(parts)
}

function encodeElement(id: number, data: Uint8Array): Buffer {
  if (data.length > 15 + 0xff) throw new RangeError(`a framing extra of ${data.length} bytes`)
  if (data.length < 15) return Buffer.concat([Buffer.of((id << 4) | data.length), data])
  return Buffer.concat([Buffer.of((id << 4) | 15, data.length - 15), data])
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  writeUint16(bytes, 0, value)
  return bytes
}

/** What a response's framing extras tell; absent parts were not sent. */
export interface ResponseFraming {
  serverDurationMicros?: number
  readUnits?: number
  writeUnits?: number
  throttleMicros?: number
}

/** Unknown elements are skipped; `undefined` if the lengths are wrong. */
export function decodeResponseFraming(frame: Frame): ResponseFraming | undefined {
  const framing: ResponseFraming = {}
  const { bytes, framingStart } = frame
  const end = framingStart + frame.framingLength
  for (let at = framingStart; at < end; at = element.next) {
    if (!readElement(bytes, at, end)) return undefined
    if (element.id > ResponseFramingId.throttleDuration) continue
    if (element.length !== 2) return undefined
    const value = readUint16(bytes, element.start)
    if (element.id === ResponseFramingId.serverDuration) {
      framing.serverDurationMicros = decodeDurationMicros(value)
    } else if (element.id === ResponseFramingId.readUnits) framing.readUnits = value
    else if (element.id === ResponseFramingId.writeUnits) framing.writeUnits = value
    else framing.throttleMicros = decodeDurationMicros(value)
  }
  return framing
}

export function encodeResponseFraming(framing: ResponseFraming): Buffer {
  const parts: Buffer[] = []
  const add = (id: ResponseFramingId, value: number) => parts.push(encodeElement(id, uint16(value)))
  const { serverDurationMicros, readUnits, writeUnits, throttleMicros } = framing
  if (serverDurationMicros !== undefined) {
    add(ResponseFramingId.serverDuration, encodeDurationMicros(serverDurationMicros))
  }
  if (readUnits !== undefined) add(ResponseFramingId.readUnits, readUnits)
  if (writeUnits !== undefined) add(ResponseFramingId.writeUnits, writeUnits)
  if (throttleMicros !== undefined) {
    add(ResponseFramingId.throttleDuration, encodeDurationMicros(throttleMicros))
  }
  return Buffer.concat(parts)
}

/** Bytes of the element that tells how long a request took in the server. */
export const serverDurationLength = 3

/** Writes that element; the same as `encodeResponseFraming` makes, without memory of its own. */
export function writeServerDuration(target: Uint8Array, at: number, micros: number): void {
  target[at] = (ResponseFramingId.serverDuration << 4) | 2
  writeUint16(target, at + 1, encodeDurationMicros(micros))
}

/** Durations travel in 16 bits: fine for short ones, coarse for long ones, at most two minutes. */
const durationExponent = 1.74

export function encodeDurationMicros(micros: number): number {
  return Math.min(0xffff, Math.round((micros * 2) ** (1 / durationExponent)))
}

export function decodeDurationMicros(encoded: number): number {
  return encoded ** durationExponent / 2
}
