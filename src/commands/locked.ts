import { decodeOptionalUint32Extras } from '../../protocol/commands/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { Privilege, type CommandRow, type Outcome } from './command.ts'
import { replyDocument } from './document-reply.ts'
import { replyHeader } from './reply.ts'
import type { Session } from './session.ts'
import { requestOf } from './store-request.ts'

const lockDefaultSeconds = 15
const lockMaxSeconds = 30

function getLocked(session: Session, frame: Frame, vbucket: Vbucket): Outcome {
  const { documents } = session
  const { bytes, keyStart, keyLength } = frame
  const asked = decodeOptionalUint32Extras(frame)!
  const seconds = asked === 0 || asked > lockMaxSeconds ? lockDefaultSeconds : asked
  const record = documents.lock(vbucket, bytes, keyStart, keyLength, seconds)
  if (typeof record === 'number') return lockStatus(session, record)
  const { casHigh, casLow } = documents.result
  return replyDocument(session, frame, record, false, casHigh, casLow)
}

function unlockKey(session: Session, frame: Frame, vbucket: Vbucket): Outcome {
  if (frame.casHigh === 0 && frame.casLow === 0) {
    session.errorContext = 'unlocking takes the cas that locking gave'
    return Status.invalidArguments
  }
  const status = session.documents.unlock(vbucket, requestOf(session, frame))
  if (status !== Status.success) return lockStatus(session, status)
  replyHeader(session, frame, 0, 0)
  return Status.success
}

/** Clients without XERROR know nothing of locks: to them it is a temporary failure. */
function lockStatus(session: Session, status: Status): Status {
  const isAboutLock = status === Status.locked || status === Status.notLocked
  return isAboutLock && !session.features.xerror ? Status.temporaryFailure : status
}

const locking = {
  key: 'required',
  value: 'none',
  target: 'active',
  privilege: Privilege.write,
} as const

export const lockRows: readonly CommandRow[] = [
  {
    ...locking,
    opcode: Opcode.getLocked,
    extras: [0, 4],
    privilege: Privilege.read | Privilege.write,
    run: getLocked,
  },
  { ...locking, opcode: Opcode.unlockKey, extras: [0], run: unlockKey },
]
