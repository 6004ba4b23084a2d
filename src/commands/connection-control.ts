/** Commands about the connection itself. */
import { Opcode } from '../../protocol/opcode.ts'
import type { Frame } from '../../protocol/frame.ts'
import { version } from '../version.ts'
import { answered, Privilege, type Command, type CommandRow, type Outcome } from './command.ts'
import { reply } from './reply.ts'
import type { Session } from './session.ts'

function noop(session: Session, frame: Frame): Outcome {
  return reply(session, frame)
}

/**
 * Clients parse three numbers with dots between, to learn what the server can do, and libmemcached
 * takes a leading 0 for garbage: first comes the memcached that this server can stand in for.
 */
const versionText = `1.6.0-holdfast-${version}`

function getVersion(session: Session, frame: Frame): Outcome {
  return reply(session, frame, { value: versionText })
}

function quit(session: Session, frame: Frame, _: unknown, command: Command): Outcome {
  if (!command.quietSuccess) reply(session, frame)
  session.quit()
  return answered
}

/** Taken for compatibility: what is logged is the operator's choice, not a client's. */
function verbosity(session: Session, frame: Frame): Outcome {
  return reply(session, frame)
}

const plain = {
  extras: [0],
  key: 'none',
  value: 'none',
  target: 'node',
  privilege: Privilege.none,
} as const

export const connectionRows: readonly CommandRow[] = [
  { ...plain, opcode: Opcode.noop, run: noop },
  { ...plain, opcode: Opcode.version, run: getVersion },
  { ...plain, opcode: Opcode.quit, run: quit },
  { ...plain, opcode: Opcode.quitq, run: quit, quiet: 'success' },
  {
    ...plain,
    opcode: Opcode.verbosity,
    extras: [4],
    privilege: Privilege.login,
    run: verbosity,
  },
]
