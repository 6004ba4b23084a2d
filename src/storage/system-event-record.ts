/**
 * System events: records that tell of a collection or scope that it was made (a mutation) or
 * dropped (a deletion). As ordinary records they take a seqno, are superseded, stored, replayed and
 * purged like any other. Their keys are in record-key.ts; their values are
 *
 *   | event u32 | version u8 | name length u8 | name | the value of DCP_SYSTEM_EVENT |
 *
 * whose drawing is in protocol/dcp/system-event-value.ts.
 */
import { readLeb128, writeLeb128 } from '../../protocol/leb128.ts'
import { readUint32, readUint64, writeUint32 } from '../../protocol/bytes.ts'
import { invariant } from '../errors.ts'
import { systemCollection } from './record-key.ts'
import type { RecordView } from './record.ts'

export type EventSubject = 'collection' | 'scope'
const subjects: readonly EventSubject[] = ['collection', 'scope']

const nameAt = 6
/** Of the scope id in the event's own value. */
const scopeIdAt = 8

/** What a system event is stored as. */
export interface SystemEventContent {
  event: number
  version: number
  name: string
  value: Uint8Array
}

export function systemEventKey(subject: EventSubject, id: number): Buffer {
  const key = Buffer.alloc(2 + 5)
  key[0] = systemCollection
  key[1] = subjects.indexOf(subject)
  return key.subarray(0, 2 + writeLeb128(key, 2, id))
}

export function encodeSystemEventContent(content: SystemEventContent): Buffer {
  const name = Buffer.from(content.name)
  const head = Buffer.alloc(nameAt)
  writeUint32(head, 0, content.event)
  head[4] = content.version
  head[5] = name.length
  return Buffer.concat([head, name, content.value])
}

/** Whether a record is a system event. */
export function isSystemEvent(record: RecordView): boolean {
  return record.bytes[record.keyStart] === systemCollection
}

export function eventSubject({ bytes, keyStart }: RecordView): EventSubject {
  return subjects[bytes[keyStart + 1]!]!
}

/** Of the collection or scope that the event is about. */
export function eventSubjectId({ bytes, keyStart, valueStart }: RecordView): number {
  const id = readLeb128(bytes, keyStart + 2, valueStart)
  invariant(id, 'the key of a system event ends with an id')
  return id.value
}

export function eventManifestUid(record: RecordView): bigint {
  return readUint64(record.bytes, eventValueStart(record))
}

/** Of the scope that the event is about, or that its collection is in. */
export function eventScopeId(record: RecordView): number {
  return readUint32(record.bytes, eventValueStart(record) + scopeIdAt)
}

/** The parts of an event that its frame has, by where they lie. */
export function eventId({ bytes, valueStart }: RecordView): number {
  return readUint32(bytes, valueStart)
}
export function eventVersion({ bytes, valueStart }: RecordView): number {
  return bytes[valueStart + 4]!
}
export function eventNameStart({ valueStart }: RecordView): number {
  return valueStart + nameAt
}
export function eventValueStart({ bytes, valueStart }: RecordView): number {
  return valueStart + nameAt + bytes[valueStart + 5]!
}
