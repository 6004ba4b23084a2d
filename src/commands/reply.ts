/** Encoders of answers. Those of reads and mutations write in place; the rest take a `Reply`. */
import { headerLength, writeHeader } from '../../protocol/header.ts'
import { uint64High, uint64Low, writeUint32 } from '../../protocol/bytes.ts'
import { Magic } from '../../protocol/magic.ts'
import { defaultPrefixLength } from '../storage/record-key.ts'
import { answered } from './command.ts'
import { errorBody, errorDatatype } from './error-body.ts'
import type { Frame } from '../../protocol/frame.ts'
import type { Outcome } from './command.ts'
import type { Reply, Session } from './session.ts'

const nothing = new Uint8Array(0)

/** Answers with whatever parts `parts` has. */
export function reply(session: Session, frame: Frame, parts: Reply = {}): Outcome {
  const { output } = session
  const { key = nothing, extras = nothing, cas = 0n, datatype = 0, status = 0 } = parts
  const value = typeof parts.value === 'string' ? Buffer.from(parts.value) : parts.value
  const valueLength = value?.length ?? 0
  const bodyLength = extras.length + key.length + valueLength
  const at = output.reserve(headerLength + bodyLength)
  const target = output.buffer
  writeHeader(
    target,
    at,
    Magic.response,
    frame.opcode,
    key.length,
    extras.length,
    datatype,
    status,
    bodyLength,
    frame.opaque,
    uint64High(cas),
    uint64Low(cas),
  )
  target.set(extras, at + headerLength)
  target.set(key, at + headerLength + extras.length)
  if (value !== undefined) target.set(value, at + headerLength + bodyLength - valueLength)
  return answered | status
}

/** Answers success with nothing but a CAS; no object is made for it. */
export function replyHeader(session: Session, frame: Frame, casHigh: number, casLow: number): void {
  const { output } = session
  const at = output.reserve(headerLength)
  const { opcode, opaque } = frame
  writeHeader(output.buffer, at, Magic.response, opcode, 0, 0, 0, 0, 0, opaque, casHigh, casLow)
}

/** Answers an error; with `echoesKey`, the body is the key that was asked for. */
export function replyError(
  session: Session,
  frame: Frame,
  status: number,
  echoesKey: boolean,
): void {
  const { output } = session
  const keyStart = frame.keyStart + defaultPrefixLength
  const keyLength = echoesKey ? frame.valueStart - keyStart : 0
  const body = keyLength > 0 ? nothing : errorBody(session, status, frame.opcode)
  const bodyLength = keyLength + body.length
  const at = output.reserve(headerLength + bodyLength)
  const target = output.buffer
  writeHeader(
    target,
    at,
    Magic.response,
    frame.opcode,
    keyLength,
    0,
    errorDatatype(session, body),
    status,
    bodyLength,
    frame.opaque,
    0,
    0,
  )
  if (keyLength > 0) frame.bytes.copy(target, at + headerLength, keyStart, frame.valueStart)
  else target.set(body, at + headerLength)
}

/** Four bytes of extras in memory of their own. */
export function uint32Extras(value: number): Uint8Array {
  const extras = new Uint8Array(4)
  writeUint32(extras, 0, value)
  return extras
}
