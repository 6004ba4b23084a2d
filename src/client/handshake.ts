import { decodeFeatures, encodeFeatures } from '../../protocol/commands/hello.ts'
import { Feature } from '../../protocol/feature.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Connection } from './connection.ts'
import { protocolError, ServerError } from './errors.ts'
import { logIn, type Credentials } from './login.ts'

export interface HandshakeOptions {
  /** Shown in the server's log and statistics. */
  agent?: string
  credentials?: Credentials
  /** Default `default`; `false` selects none. */
  bucket?: string | false
  /** Keys begin with the ids of collections; a server that has none is an error. */
  collections?: boolean
}

/**
 * What is asked for: all that changes no key or value on the wire. Collections, which prefix every
 * key, are for those who want them; snappy would compress values, unordered execution would give up
 * the order of answers.
 */
const wanted: readonly number[] = [
  Feature.tcpNoDelay,
  Feature.mutationSeqno,
  Feature.xattr,
  Feature.xerror,
  Feature.selectBucket,
  Feature.json,
  Feature.altRequest,
  Feature.syncReplication,
  Feature.preserveExpiry,
]

/**
 * Introduces a new connection: HELLO, a login if there are credentials, SELECT_BUCKET, each on its
 * way as soon as may be. Returns the features granted. A server that does not know HELLO grants
 * nothing and is no error.
 */
export async function handshake(
  connection: Connection,
  options: HandshakeOptions,
): Promise<ReadonlySet<number>> {
  const { agent = 'holdfast', credentials, bucket, collections = false } = options
  const enter = async () => {
    // There is no bucket to be had before.
    if (credentials !== undefined) await logIn(connection, credentials)
    if (bucket !== false) await selectBucket(connection, bucket)
  }
  const features = collections ? [...wanted, Feature.collections] : wanted
  const results = await Promise.allSettled([hello(connection, agent, features), enter()])
  for (const result of results) if (result.status === 'rejected') throw result.reason
  const granted = (results[0] as PromiseFulfilledResult<ReadonlySet<number>>).value
  if (collections && !granted.has(Feature.collections)) {
    throw new ServerError(Opcode.hello, Status.notSupported, 'the server has no collections')
  }
  return granted
}

function hello(
  connection: Connection,
  agent: string,
  features: readonly number[],
): Promise<ReadonlySet<number>> {
  const value = encodeFeatures(features)
  const key = JSON.stringify({ a: agent.slice(0, 200) })
  return connection.send({ opcode: Opcode.hello, key, value }, frame => {
    if (frame.status === Status.unknownCommand) return new Set()
    expectSuccess(frame)
    const granted = decodeFeatures(frame)
    if (!granted) throw protocolError('hello: half a feature granted')
    return new Set(granted)
  })
}

/** A plain memcached has no buckets: unless one was named, it need not know of them. */
async function selectBucket(connection: Connection, bucket: string | undefined): Promise<void> {
  await connection.send({ opcode: Opcode.selectBucket, key: bucket ?? 'default' }, frame => {
    if (bucket !== undefined || frame.status !== Status.unknownCommand) expectSuccess(frame)
  })
}

/** Throws the `ServerError` of a response that is none of success. */
export function expectSuccess(frame: Frame): void {
  if (frame.status !== Status.success) throw ServerError.from(frame)
}
