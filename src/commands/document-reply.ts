/** Answers that carry a document: written straight from its record, one copy of the value. */
import { writeUint32 } from '../../protocol/bytes.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { copyShared } from '../storage/copy-shared.ts'
import { PlainValue } from '../storage/plain-value.ts'
import type { RecordView } from '../storage/record.ts'
import { beginAnswer } from './answer-header.ts'
import type { Outcome } from './command.ts'
import { hiddenKeyBytes } from './shown-key.ts'
import type { Session } from './session.ts'

const flagsLength = 4
const shown = new PlainValue()

/**
 * The value of a document as this client is to see it, with its datatype: without extended
 * attributes, and compressed only if that was negotiated. Valid until it is called again.
 */
export function shownValue({ features }: Session, record: RecordView): PlainValue {
  const { datatype } = record
  const isShownAsStored =
    (datatype & Datatype.xattr) === 0 && ((datatype & Datatype.snappy) === 0 || features.snappy)
  if (isShownAsStored) {
    return shown.at(record.bytes, record.valueStart, record.end, datatype & features.datatypes)
  }
  const { bytes, bodyStart, end } = shown.of(record)
  return shown.at(bytes, bodyStart, end, datatype & features.datatypes & Datatype.json)
}

/** Answers with flags, the key if `withKey`, and the value. */
export function replyDocument(
  session: Session,
  frame: Frame,
  record: RecordView,
  withKey: boolean,
  casHigh: number,
  casLow: number,
): Outcome {
  const { output } = session
  const { bytes, start, end, datatype } = shownValue(session, record)
  const valueLength = end - start
  const keyStart = record.keyStart + hiddenKeyBytes(session)
  const keyLength = withKey ? record.valueStart - keyStart : 0
  const bodyLength = flagsLength + keyLength + valueLength
  const bodyAt = beginAnswer(
    session,
    frame.opcode,
    frame.opaque,
    keyLength,
    flagsLength,
    datatype,
    Status.success,
    bodyLength,
    casHigh,
    casLow,
  )
  const target = output.buffer
  writeUint32(target, bodyAt, record.flags)
  if (withKey) {
    copyShared(record.bytes, keyStart, keyStart + keyLength, target, bodyAt + flagsLength)
  }
  copyShared(bytes, start, end, target, bodyAt + bodyLength - valueLength)
  return Status.success
}
