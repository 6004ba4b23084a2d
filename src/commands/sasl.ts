/** Logging in. The requests are barriers: clients send what needs the login right behind it. */
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { StatusError } from '../errors.ts'
import { Privilege, type CommandRow, type Outcome } from './command.ts'
import { reply } from './reply.ts'
import type { Reply, Session } from './session.ts'

function listMechanisms(session: Session, frame: Frame): Outcome {
  return reply(session, frame, { value: session.mechanisms.join(' ') })
}

/** Key: the mechanism; value: its first message. Whoever was logged in no longer is. */
async function authenticate(session: Session, frame: Frame): Promise<Reply> {
  if (session.producer !== undefined) {
    const message = 'a connection for streams keeps its user'
    throw new StatusError(Status.invalidArguments, message)
  }
  session.logOut()
  const name = frame.key().toString()
  const mechanism = session.mechanisms.find(each => each === name)
  if (mechanism === undefined) {
    throw new StatusError(
      Status.authError,
      `the mechanisms here are: ${session.mechanisms.join(', ')}`,
    )
  }
  session.login = session.node.access.begin(mechanism, session.origin)
  return advance(session, frame)
}

async function step(session: Session, frame: Frame): Promise<Reply> {
  return advance(session, frame)
}

async function advance(session: Session, frame: Frame): Promise<Reply> {
  const { login } = session
  if (login === undefined) throw new StatusError(Status.authError, 'no login has begun')
  const answer = await login.step(frame.value())
  if (answer.kind === 'continue') return { status: Status.authContinue, value: answer.value }
  session.login = undefined
  if (answer.kind === 'refused') throw new StatusError(Status.authError, answer.reason)
  session.logIn(answer.identity)
  return { value: answer.value }
}

const sasl = { extras: [0], target: 'node', privilege: Privilege.none } as const
const exchange = { ...sasl, key: 'required', value: 'optional', barrier: true } as const

export const saslRows: readonly CommandRow[] = [
  { ...sasl, opcode: Opcode.saslListMechs, key: 'none', value: 'none', run: listMechanisms },
  { ...exchange, opcode: Opcode.saslAuth, runLater: authenticate },
  { ...exchange, opcode: Opcode.saslStep, runLater: step },
]
