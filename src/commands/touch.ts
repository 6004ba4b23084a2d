import { encodeFlagsExtras } from '../../protocol/commands/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import type { RecordView } from '../storage/record.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { Privilege, type Command, type CommandRow, type Outcome } from './command.ts'
import { replyDocument, shownValue } from './document-reply.ts'
import { shownKey } from './shown-key.ts'
import { mustBePersisted, replyWhenDurable } from './mutation-reply.ts'
import { replyHeader } from './reply.ts'
import type { Session } from './session.ts'

/** Extras: the new expiry. */
function touched(session: Session, frame: Frame, vbucket: Vbucket): RecordView | Status {
  const { bytes, keyStart, keyLength } = frame
  return session.documents.touch(vbucket, bytes, keyStart, keyLength, frame.extrasUint32(0))
}

function touch(session: Session, frame: Frame, vbucket: Vbucket, command: Command): Outcome {
  const record = touched(session, frame, vbucket)
  if (typeof record === 'number') return record
  const { result } = session.documents
  if (mustBePersisted(session)) {
    return replyWhenDurable(session, frame, vbucket, command, { cas: result.cas })
  }
  replyHeader(session, frame, result.casHigh, result.casLow)
  return Status.success
}

function getAndTouch(session: Session, frame: Frame, vbucket: Vbucket, command: Command): Outcome {
  const record = touched(session, frame, vbucket)
  if (typeof record === 'number') return record
  const { result } = session.documents
  if (mustBePersisted(session)) {
    const key = command.echoesKey ? shownKey(session, record) : Buffer.alloc(0)
    const { bytes, start, end, datatype } = shownValue(session, record)
    return replyWhenDurable(session, frame, vbucket, command, {
      cas: result.cas,
      extras: encodeFlagsExtras(record.flags),
      key,
      value: bytes.subarray(start, end),
      datatype,
    })
  }
  const { echoesKey } = command
  return replyDocument(session, frame, record, echoesKey, result.casHigh, result.casLow)
}

const touching = {
  extras: [4],
  key: 'required',
  value: 'none',
  target: 'active',
  privilege: Privilege.write,
  writes: true,
} as const
const reading = {
  ...touching,
  privilege: Privilege.read | Privilege.write,
  run: getAndTouch,
}

export const touchRows: readonly CommandRow[] = [
  { ...touching, opcode: Opcode.touch, run: touch },
  { ...reading, opcode: Opcode.gat },
  { ...reading, opcode: Opcode.gatq, quiet: 'miss' },
  { ...reading, opcode: Opcode.gatk, echoesKey: true },
  { ...reading, opcode: Opcode.gatkq, echoesKey: true, quiet: 'miss' },
]
