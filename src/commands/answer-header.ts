/**
 * The headers of answers. Clients that negotiated tracing are told in a framing extra how long their
 * request took, from when it was read to when it is answered.
 */
import { readUint16, readUint32, writeUint32 } from '../../protocol/bytes.ts'
import { serverDurationLength, writeServerDuration } from '../../protocol/framing.ts'
import { headerLength, HeaderOffset, writeAltHeader, writeHeader } from '../../protocol/header.ts'
import { Magic } from '../../protocol/magic.ts'
import type { Session } from './session.ts'

/** What a header with framing extras has room for. */
const altKeyLengthMax = 0xff

/**
 * Makes room for an answer, writes its header, and returns where its body is to begin, in what is
 * the output's buffer then. Positional, as it runs once for every answer; `bodyLength` counts
 * extras, key and value.
 */
export function beginAnswer(
  session: Session,
  opcode: number,
  opaque: number,
  keyLength: number,
  extrasLength: number,
  datatype: number,
  status: number,
  bodyLength: number,
  casHigh: number,
  casLow: number,
): number {
  const { output, features } = session
  const isTraced = features.tracing && keyLength <= altKeyLengthMax
  const framingLength = isTraced ? serverDurationLength : 0
  const at = output.reserve(headerLength + framingLength + bodyLength)
  const target = output.buffer
  if (!isTraced) {
    writeHeader(
      target,
      at,
      Magic.response,
      opcode,
      keyLength,
      extrasLength,
      datatype,
      status,
      bodyLength,
      opaque,
      casHigh,
      casLow,
    )
    return at + headerLength
  }
  writeAltHeader(
    target,
    at,
    Magic.altResponse,
    opcode,
    framingLength,
    keyLength,
    extrasLength,
    datatype,
    status,
    framingLength + bodyLength,
    opaque,
    casHigh,
    casLow,
  )
  const micros = (session.clock.monotonicMs() - session.receivedMs) * 1000
  writeServerDuration(target, at + headerLength, micros)
  return at + headerLength + framingLength
}

/** An answer that had to wait, with how long it took; in memory of its own. */
export function traced(answer: Buffer, micros: number): Buffer {
  const keyLength = readUint16(answer, HeaderOffset.keyLength)
  if (keyLength > altKeyLengthMax) return answer
  const bytes = Buffer.allocUnsafe(answer.length + serverDurationLength)
  answer.copy(bytes, 0, 0, headerLength)
  bytes[HeaderOffset.magic] = Magic.altResponse
  bytes[HeaderOffset.altFramingLength] = serverDurationLength
  bytes[HeaderOffset.altKeyLength] = keyLength
  const bodyLength = readUint32(answer, HeaderOffset.bodyLength)
  writeUint32(bytes, HeaderOffset.bodyLength, bodyLength + serverDurationLength)
  writeServerDuration(bytes, headerLength, micros)
  answer.copy(bytes, headerLength + serverDurationLength, headerLength)
  return bytes
}
