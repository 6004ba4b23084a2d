/** Encoders of answers. Those of reads and mutations write in place; the rest take a `Reply`. */
import { uint64High, uint64Low, writeUint32 } from '../../protocol/bytes.ts'
import { beginAnswer } from './answer-header.ts'
import { answered } from './command.ts'
import { hiddenKeyBytes } from './shown-key.ts'
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
  const bodyAt = beginAnswer(
    session,
    frame.opcode,
    frame.opaque,
    key.length,
    extras.length,
    datatype,
    status,
    bodyLength,
    uint64High(cas),
    uint64Low(cas),
  )
  const target = output.buffer
  target.set(extras, bodyAt)
  target.set(key, bodyAt + extras.length)
  if (value !== undefined) target.set(value, bodyAt + bodyLength - valueLength)
  return answered | status
}

/** Answers success with nothing but a CAS; no object is made for it. */
export function replyHeader(session: Session, frame: Frame, casHigh: number, casLow: number): void {
  beginAnswer(session, frame.opcode, frame.opaque, 0, 0, 0, 0, 0, casHigh, casLow)
}

/** Answers an error; with `echoesKey`, the body is the key that was asked for. */
export function replyError(
  session: Session,
  frame: Frame,
  status: number,
  echoesKey: boolean,
): void {
  const { output } = session
  const keyStart = frame.keyStart + hiddenKeyBytes(session)
  const keyLength = echoesKey ? frame.valueStart - keyStart : 0
  const body = keyLength > 0 ? nothing : errorBody(session, status, frame.opcode)
  const bodyLength = keyLength + body.length
  const bodyAt = beginAnswer(
    session,
    frame.opcode,
    frame.opaque,
    keyLength,
    0,
    errorDatatype(session, body),
    status,
    bodyLength,
    0,
    0,
  )
  const target = output.buffer
  if (keyLength > 0) frame.bytes.copy(target, bodyAt, keyStart, frame.valueStart)
  else target.set(body, bodyAt)
}

/** Four bytes of extras in memory of their own. */
export function uint32Extras(value: number): Uint8Array {
  const extras = new Uint8Array(4)
  writeUint32(extras, 0, value)
  return extras
}
