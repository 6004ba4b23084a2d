/** Answers that carry a document: written straight from its record, one copy of the value. */
import { writeUint32 } from '../../protocol/bytes.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { headerLength, writeHeader } from '../../protocol/header.ts'
import { Magic } from '../../protocol/magic.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { defaultPrefixLength } from '../storage/record-key.ts'
import type { RecordView } from '../storage/record.ts'
import type { Outcome } from './command.ts'
import type { Session } from './session.ts'

const flagsLength = 4
/** Below this a loop is faster than making the view that a bulk copy needs. */
const loopedBytesMax = 40

export function copyBytes(
  source: Uint8Array,
  start: number,
  length: number,
  target: Uint8Array,
  at: number,
): void {
  if (length <= loopedBytesMax) {
    for (let index = 0; index < length; index++) target[at + index] = source[start + index]!
  } else {
    target.set(source.subarray(start, start + length), at)
  }
}

/** Answers with flags, the key if `withKey`, and the value without its extended attributes. */
export function replyDocument(
  session: Session,
  frame: Frame,
  record: RecordView,
  withKey: boolean,
  casHigh: number,
  casLow: number,
): Outcome {
  const { output } = session
  const { bytes, datatype } = record
  const valueStart = record.valueStart + xattrLength(record)
  const valueLength = record.end - valueStart
  const keyStart = record.keyStart + defaultPrefixLength
  const keyLength = withKey ? record.valueStart - keyStart : 0
  const bodyLength = flagsLength + keyLength + valueLength
  const at = output.reserve(headerLength + bodyLength)
  const target = output.buffer
  writeHeader(
    target,
    at,
    Magic.response,
    frame.opcode,
    keyLength,
    flagsLength,
    session.features.json ? datatype & Datatype.json : 0,
    Status.success,
    bodyLength,
    frame.opaque,
    casHigh,
    casLow,
  )
  const bodyAt = at + headerLength
  writeUint32(target, bodyAt, record.flags)
  if (withKey) copyBytes(bytes, keyStart, keyLength, target, bodyAt + flagsLength)
  copyBytes(bytes, valueStart, valueLength, target, bodyAt + bodyLength - valueLength)
  return Status.success
}

/** Bytes of the attributes in front of a value; what clients of GET do not see. */
export function xattrLength(record: RecordView): number {
  if ((record.datatype & Datatype.xattr) === 0 || record.valueLength < 4) return 0
  return Math.min(record.valueLength, 4 + record.bytes.readUInt32BE(record.valueStart))
}

/** A key as the client sees it. */
export function shownKey(record: RecordView): Buffer {
  return record.key().subarray(defaultPrefixLength)
}
