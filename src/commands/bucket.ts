/** Commands about buckets as wholes. */
import { decodeCreateBucket } from '../../protocol/commands/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { mayUse } from '../auth/identity.ts'
import { StatusError } from '../errors.ts'
import { readBucketConfiguration } from './bucket-configuration.ts'
import { Privilege, type CommandRow, type Outcome } from './command.ts'
import { recordAct } from './recorded-act.ts'
import { reply } from './reply.ts'
import type { Reply, Session } from './session.ts'

/** Selecting this leaves the connection without a bucket. */
const noBucketName = '@no bucket@'

/**
 * Clients take "not found" for "not there yet" and ask for ever: a wrong name is "no access", which
 * also keeps from those who may not use a bucket whether there is one.
 */
function selectBucket(session: Session, frame: Frame): Outcome {
  const name = frame.key().toString()
  const bucket = mayUse(session.identity, name) ? session.node.buckets.get(name) : undefined
  if (bucket === undefined && name !== noBucketName) {
    session.errorContext = `there is no bucket ${name}, or none that you may use`
    return Status.accessDenied
  }
  session.selectBucket(bucket)
  return reply(session, frame)
}

function listBuckets(session: Session, frame: Frame): Outcome {
  const all = session.node.buckets.list().map(bucket => bucket.name)
  const names = all.filter(name => mayUse(session.identity, name))
  return reply(session, frame, { value: names.sort().join(' ') })
}

/** The engine that the value names is taken for ours, whatever it is. */
async function createBucket(session: Session, frame: Frame): Promise<Reply> {
  const request = decodeCreateBucket(frame)
  if (request === undefined) {
    throw new StatusError(Status.invalidArguments, 'the value names an engine')
  }
  const shape = readBucketConfiguration(request.configuration)
  await session.node.buckets.create(request.name, shape)
  session.log.info({ connection: session.id, bucket: request.name, ...shape }, 'bucket created')
  recordAct(session, 'bucket-created', request.name)
  return {}
}

async function deleteBucket(session: Session, frame: Frame): Promise<Reply> {
  const name = frame.key().toString()
  await session.node.buckets.delete(name)
  session.log.info({ connection: session.id, bucket: name }, 'bucket deleted')
  recordAct(session, 'bucket-deleted', name)
  return {}
}

const named = { extras: [0], key: 'required', target: 'node', barrier: true } as const

export const bucketRows: readonly CommandRow[] = [
  {
    ...named,
    opcode: Opcode.selectBucket,
    value: 'none',
    privilege: Privilege.login,
    run: selectBucket,
  },
  {
    opcode: Opcode.listBuckets,
    extras: [0],
    key: 'none',
    value: 'none',
    target: 'node',
    privilege: Privilege.login,
    run: listBuckets,
  },
  {
    ...named,
    opcode: Opcode.createBucket,
    value: 'required',
    privilege: Privilege.admin,
    runLater: createBucket,
  },
  {
    ...named,
    opcode: Opcode.deleteBucket,
    value: 'optional',
    privilege: Privilege.admin,
    runLater: deleteBucket,
  },
]
