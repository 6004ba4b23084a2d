import { uint64High, uint64Low } from './bytes.ts'
import { headerLength, writeAltHeader, writeHeader } from './header.ts'
import { Magic } from './magic.ts'

/** The parts of a message; whatever is left out is zero or empty. */
export interface MessageFields {
  opcode: number
  opaque?: number
  cas?: bigint
  datatype?: number
  key?: string | Uint8Array
  extras?: Uint8Array
  value?: string | Uint8Array
  /** Framing extras as `framing.ts` encodes them; with any, the alternative magic is used. */
  framing?: Uint8Array
}

export interface RequestFields extends MessageFields {
  vbid?: number
}

export interface ResponseFields extends MessageFields {
  status?: number
}

const nothing = new Uint8Array(0)

/**
 * A request in memory of its own, for clients and wherever speed does not matter. Throws a
 * `RangeError` for parts whose lengths no header can express.
 */
export function encodeRequest(fields: RequestFields): Buffer {
  return encodeMessage(Magic.request, Magic.altRequest, fields.vbid ?? 0, fields)
}

/** A response in memory of its own. */
export function encodeResponse(fields: ResponseFields): Buffer {
  return encodeMessage(Magic.response, Magic.altResponse, fields.status ?? 0, fields)
}

/** A request from the server to its client. It has no form with framing extras. */
export function encodeServerRequest(fields: Omit<RequestFields, 'framing'>): Buffer {
  return encodeMessage(Magic.serverRequest, Magic.serverRequest, fields.vbid ?? 0, fields)
}

/** A client's answer to a request from the server. */
export function encodeServerResponse(fields: Omit<ResponseFields, 'framing'>): Buffer {
  return encodeMessage(Magic.serverResponse, Magic.serverResponse, fields.status ?? 0, fields)
}

function encodeMessage(
  magic: Magic,
  altMagic: Magic,
  vbidOrStatus: number,
  fields: MessageFields,
): Buffer {
  const key = toBytes(fields.key)
  const value = toBytes(fields.value)
  const extras = fields.extras ?? nothing
  const framing = fields.framing ?? nothing
  const alternative = framing.length > 0
  checkLength('key', key.length, alternative ? 0xff : 0xffff)
  checkLength('extras', extras.length, 0xff)
  checkLength('framing extras', framing.length, 0xff)

  const bodyLength = framing.length + extras.length + key.length + value.length
  const target = Buffer.allocUnsafe(headerLength + bodyLength)
  const cas = fields.cas ?? 0n
  const rest = [
    extras.length,
    fields.datatype ?? 0,
    vbidOrStatus,
    bodyLength,
    fields.opaque ?? 0,
    uint64High(cas),
    uint64Low(cas),
  ] as const
  if (alternative) {
    writeAltHeader(target, 0, altMagic, fields.opcode, framing.length, key.length, ...rest)
  } else {
    writeHeader(target, 0, magic, fields.opcode, key.length, ...rest)
  }
  target.set(framing, headerLength)
  target.set(extras, headerLength + framing.length)
  target.set(key, headerLength + framing.length + extras.length)
  target.set(value, target.length - value.length)
  return target
}

function toBytes(part: string | Uint8Array | undefined): Uint8Array {
  if (part === undefined) return nothing
  return typeof part === 'string' ? Buffer.from(part) : part
}

function checkLength(part: string, length: number, max: number): void {
  if (length > max) throw new RangeError(`the ${part} has ${length} bytes, at most ${max} fit`)
}
