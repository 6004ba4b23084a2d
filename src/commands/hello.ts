import { decodeFeatures, encodeFeatures } from '../../protocol/commands/index.ts'
import { featureName } from '../../protocol/feature.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Privilege, type CommandRow, type Outcome } from './command.ts'
import { reply } from './reply.ts'
import type { Session } from './session.ts'

/** Key: the agent's name, or JSON with its name as `a` and a connection id as `i`. */
function hello(session: Session, frame: Frame): Outcome {
  const asked = decodeFeatures(frame)
  if (asked === undefined) {
    session.errorContext = 'features are two bytes each'
    return Status.invalidArguments
  }
  const { features } = session
  const wasTracing = features.tracing
  const granted = features.negotiate(asked, session.producer !== undefined)
  if (granted === undefined) {
    session.errorContext = 'pushes of cluster maps need the feature duplex'
    return Status.invalidArguments
  }
  session.agent = agentOf(frame.key().toString())
  session.log.debug(
    { connection: session.id, agent: session.agent, features: granted.map(featureName) },
    'hello',
  )
  // What comes behind it in one write was received about now; it is itself answered as before.
  session.receivedMs = session.clock.monotonicMs()
  const { tracing } = features
  features.tracing = wasTracing
  const outcome = reply(session, frame, { value: encodeFeatures(granted) })
  features.tracing = tracing
  return outcome
}

function agentOf(key: string): string {
  if (!key.startsWith('{')) return key
  try {
    const { a: agent, i: id } = JSON.parse(key) as { a?: unknown; i?: unknown }
    return [agent, id].filter(part => typeof part === 'string').join(' ')
  } catch {
    return key
  }
}

export const helloRows: readonly CommandRow[] = [
  {
    opcode: Opcode.hello,
    extras: [0],
    key: 'optional',
    value: 'optional',
    target: 'node',
    privilege: Privilege.none,
    run: hello,
  },
]
