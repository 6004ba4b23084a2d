/** The frame of a system event, made of its record: DCP_SYSTEM_EVENT. */
import { writeSeqno, writeUint32 } from '../../protocol/bytes.ts'
import { systemEventExtrasLength } from '../../protocol/dcp/system-event.ts'
import { headerLength, writeHeader } from '../../protocol/header.ts'
import { Magic } from '../../protocol/magic.ts'
import { Opcode } from '../../protocol/opcode.ts'
import type { RecordView } from './record.ts'
import { eventId, eventNameStart, eventValueStart, eventVersion } from './system-event-record.ts'

export function systemEventFrameLength(record: RecordView): number {
  return headerLength + systemEventExtrasLength + record.end - eventNameStart(record)
}

/** Returns the bytes written. */
export function writeSystemEventFrame(
  record: RecordView,
  opaque: number,
  target: Buffer,
  offset: number,
): number {
  const { bytes, end, vbid, seqno } = record
  const nameStart = eventNameStart(record)
  const keyLength = eventValueStart(record) - nameStart
  const extrasLength = systemEventExtrasLength
  const bodyLength = extrasLength + end - nameStart
  const { request } = Magic
  const opcode = Opcode.dcpSystemEvent
  writeHeader(
    target,
    offset,
    request,
    opcode,
    keyLength,
    extrasLength,
    0,
    vbid,
    bodyLength,
    opaque,
    0,
    0,
  )
  const extras = offset + headerLength
  writeSeqno(target, extras, seqno)
  writeUint32(target, extras + 8, eventId(record))
  target[extras + 12] = eventVersion(record)
  // Name and value lie one behind the other.
  bytes.copy(target, extras + extrasLength, nameStart, end)
  return headerLength + bodyLength
}
