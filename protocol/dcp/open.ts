import { isUtf8 } from 'node:buffer'
import { writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'

/**
 * DCP_OPEN (0x50): makes the connection a producer or a consumer and gives it a name.
 *
 * ```
 * extras | reserved u32 | flags u32 |   key: the name   value: nothing, or JSON
 * ```
 */
export const dcpOpenExtrasLength = 8
/** Longer names are refused. */
export const dcpNameLengthMax = 200

export const DcpOpenFlag = {
  /** The server produces, the client consumes; without it the other way round. */
  producer: 0x01,
  includeXattrs: 0x04,
  /** Keys and metadata only, with datatype 0. */
  noValue: 0x08,
  /** Deletions carry the time of the deletion (the form with 21 bytes of extras). */
  includeDeleteTimes: 0x20,
  /** Like `noValue`, but with the datatype of the document. */
  noValueWithUnderlyingDatatype: 0x40,
  includeDeletedUserXattrs: 0x100,
  skipDeletesInInitialBackfill: 0x200,
} as const
export type DcpOpenFlag = (typeof DcpOpenFlag)[keyof typeof DcpOpenFlag]

export interface DcpOpen {
  opaque: number
  flags: number
  name: string
  /** JSON such as `{"consumer_name":"…"}`; mostly empty. */
  value: string
}

export function dcpOpenLength(fields: DcpOpen): number {
  const textLength = Buffer.byteLength(fields.name) + Buffer.byteLength(fields.value)
  return headerLength + dcpOpenExtrasLength + textLength
}

export function encodeDcpOpen(target: Uint8Array, offset: number, fields: DcpOpen): number {
  const name = Buffer.from(fields.name)
  const value = Buffer.from(fields.value)
  const message = { opaque: fields.opaque, vbid: 0 }
  const opcode = Opcode.dcpOpen
  const extras = offset + headerLength
  const key = extras + dcpOpenExtrasLength
  writeUint32(target, extras, 0)
  writeUint32(target, extras + 4, fields.flags)
  target.set(name, key)
  target.set(value, key + name.length)
  return writeMessageHeader(
    target,
    offset,
    opcode,
    message,
    name.length,
    dcpOpenExtrasLength,
    value.length,
  )
}

/** A name is compared and logged, so it has to be text: at least one byte, and UTF-8. */
export function decodeDcpOpen(frame: Frame): DcpOpen | undefined {
  if (!isMessage(frame, Opcode.dcpOpen, dcpOpenExtrasLength)) return undefined
  const name = frame.key()
  if (name.length === 0 || name.length > dcpNameLengthMax || !isUtf8(name)) return undefined
  return {
    opaque: frame.opaque,
    flags: frame.extrasUint32(4),
    name: name.toString(),
    value: frame.value().toString(),
  }
}
