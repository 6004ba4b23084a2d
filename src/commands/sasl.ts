/**
 * Authentication while there are no users: the daemon listens on loopback only, and whoever
 * reaches it may do everything. Clients that insist on authenticating are let through by PLAIN.
 */
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Privilege, type CommandRow, type Outcome } from './command.ts'
import { reply } from './reply.ts'
import type { Session } from './session.ts'

const mechanism = 'PLAIN'

function listMechanisms(session: Session, frame: Frame): Outcome {
  return reply(session, frame, { value: mechanism })
}

/** Value: authorisation name, user name and password with a zero byte between. */
function authenticate(session: Session, frame: Frame): Outcome {
  if (frame.key().toString() !== mechanism) {
    session.errorContext = `the mechanisms are: ${mechanism}`
    return Status.authError
  }
  if (frame.value().toString('latin1').split('\0').length !== 3) return Status.authError
  return reply(session, frame, { value: 'Authenticated' })
}

/** PLAIN has no second step. */
function step(): Outcome {
  return Status.authError
}

const sasl = { extras: [0], target: 'node', privilege: Privilege.none } as const
const exchange = { ...sasl, key: 'required', value: 'optional' } as const

export const saslRows: readonly CommandRow[] = [
  { ...sasl, opcode: Opcode.saslListMechs, key: 'none', value: 'none', run: listMechanisms },
  { ...exchange, opcode: Opcode.saslAuth, run: authenticate },
  { ...exchange, opcode: Opcode.saslStep, run: step },
]
