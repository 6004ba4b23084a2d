import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { PlainValue } from '../storage/plain-value.ts'
import { defaultCollection } from '../storage/record-key.ts'
import type { RecordView } from '../storage/record.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { refuseUnknown } from './collections.ts'
import { Privilege, type Command, type CommandRow, type Outcome } from './command.ts'
import { replyDocument, shownValue } from './document-reply.ts'
import { shownKey } from './shown-key.ts'
import { reply, uint32Extras } from './reply.ts'
import type { Session } from './session.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Datatype } from '../../protocol/datatype.ts'

/** The CAS that is shown of a document somebody else has locked: one that never matches. */
const lockedCas = 0xffffffff

const plain = new PlainValue()

function get(session: Session, frame: Frame, vbucket: Vbucket, command: Command): Outcome {
  const { documents } = session
  const { bytes, keyStart, keyLength } = frame
  const record = documents.get(vbucket, bytes, keyStart, keyLength)
  if (record === undefined) return Status.keyNotFound
  const isLocked = documents.isLocked(vbucket, bytes, keyStart, keyLength)
  const casHigh = isLocked ? lockedCas : record.casHigh
  const casLow = isLocked ? lockedCas : record.casLow
  return replyDocument(session, frame, record, command.echoesKey, casHigh, casLow)
}

/** The extras name a collection, and whether attributes are wanted. */
function getRandomKey(session: Session, frame: Frame): Outcome {
  const collection = frame.extrasLength > 0 ? frame.extrasUint32(0) : defaultCollection
  const isNamed = collection !== defaultCollection
  if (isNamed && !session.features.collections) {
    session.errorContext = 'collections are for those who asked for them in HELLO'
    return Status.invalidArguments
  }
  if (session.bucket!.collections.manifest.collection(collection) === undefined) {
    return refuseUnknown(session, frame, Status.unknownCollection)
  }
  const wantsXattrs = frame.extrasLength === 5 && frame.bytes[frame.extrasStart + 4] !== 0
  if (wantsXattrs && (session.privileges & Privilege.systemRead) === 0) {
    session.errorContext = 'your roles do not include attributes of the system'
    return Status.accessDenied
  }
  const record: RecordView | undefined = session.bucket!.randomKey(collection)
  if (record === undefined) return Status.keyNotFound
  const value = wantsXattrs ? plain.of(record) : shownValue(session, record)
  const kept = session.features.datatypes | (wantsXattrs ? Datatype.xattr : 0)
  return reply(session, frame, {
    extras: uint32Extras(record.flags),
    key: shownKey(session, record),
    value: value.bytes.subarray(value.start, value.end),
    datatype: value.datatype & kept,
    cas: record.cas,
  })
}

const read = {
  extras: [0],
  key: 'required',
  value: 'none',
  target: 'active',
  privilege: Privilege.read,
  run: get,
} as const

export const getRows: readonly CommandRow[] = [
  { ...read, opcode: Opcode.get },
  { ...read, opcode: Opcode.getq, quiet: 'miss' },
  { ...read, opcode: Opcode.getk, echoesKey: true },
  { ...read, opcode: Opcode.getkq, echoesKey: true, quiet: 'miss' },
  { ...read, opcode: Opcode.getReplica, target: 'replica' },
  {
    opcode: Opcode.getRandomKey,
    extras: [0, 4, 5],
    key: 'none',
    value: 'none',
    target: 'bucket',
    privilege: Privilege.read,
    run: getRandomKey,
  },
]
