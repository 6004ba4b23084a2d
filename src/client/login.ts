/**
 * Logs in. With SCRAM neither the password nor anything that stands for it crosses the wire, and the
 * server proves that it knows the user, too. PLAIN sends the password: only where TLS protects it,
 * or where its owner asks for it.
 */
import { randomBytes } from 'node:crypto'
import type { Frame } from '../../protocol/frame.ts'
import { Opcode } from '../../protocol/opcode.ts'
import {
  clientProof,
  decodeServerFinal,
  decodeServerFirst,
  encodeClientFinal,
  encodeClientFirst,
  encodePlain,
  isScram,
  saslMechanisms,
  scramKeys,
  scramSignature,
  type SaslMechanism,
  type ScramMechanism,
} from '../../protocol/sasl/index.ts'
import { Status } from '../../protocol/status.ts'
import type { Connection } from './connection.ts'
import { protocolError, ServerError } from './errors.ts'

export interface Credentials {
  username: string
  password: string
  /** By default the strongest SCRAM that the server has; with TLS also PLAIN, if it has no other. */
  mechanism?: SaslMechanism
}

export async function logIn(connection: Connection, credentials: Credentials): Promise<void> {
  const mechanism = credentials.mechanism ?? (await chooseMechanism(connection))
  if (isScram(mechanism)) return logInByScram(connection, credentials, mechanism)
  const value = encodePlain(credentials.username, credentials.password)
  await connection.send({ opcode: Opcode.saslAuth, key: 'PLAIN', value }, frame =>
    expect(frame, Status.success),
  )
}

async function chooseMechanism(connection: Connection): Promise<SaslMechanism> {
  const offered = await connection.send({ opcode: Opcode.saslListMechs }, frame =>
    expect(frame, Status.success).split(' '),
  )
  const mechanism = saslMechanisms.find(
    each => offered.includes(each) && (isScram(each) || connection.isEncrypted),
  )
  if (mechanism !== undefined) return mechanism
  throw protocolError(
    `the server offers no way to log in that keeps the password: ${offered.join(', ')}`,
  )
}

async function logInByScram(
  connection: Connection,
  { username, password }: Credentials,
  mechanism: ScramMechanism,
): Promise<void> {
  const ownNonce = randomBytes(18).toString('base64')
  const { header, bare } = encodeClientFirst(username, ownNonce)
  const begin = { opcode: Opcode.saslAuth, key: mechanism, value: header + bare }
  const serverFirst = await connection.send(begin, frame => expect(frame, Status.authContinue))
  const challenge = decodeServerFirst(serverFirst)
  if (challenge === undefined || !challenge.nonce.startsWith(ownNonce)) {
    throw protocolError(`malformed ${mechanism}`)
  }
  const keys = await scramKeys(mechanism, password, challenge.salt, challenge.iterations)
  const withoutProof = encodeClientFinal(header, challenge.nonce)
  const messages = [bare, serverFirst, withoutProof].join(',')
  const proof = clientProof(mechanism, keys, messages).toString('base64')
  const finish = { opcode: Opcode.saslStep, key: mechanism, value: `${withoutProof},p=${proof}` }
  const serverFinal = await connection.send(finish, frame => expect(frame, Status.success))
  const signature = scramSignature(mechanism, keys.serverKey, messages)
  if (decodeServerFinal(serverFinal)?.equals(signature) === true) return
  throw protocolError('the server cannot prove that it knows the user')
}

/** The value of a response with this status; throws the `ServerError` of another one. */
function expect(frame: Frame, status: number): string {
  if (frame.status !== status) throw ServerError.from(frame)
  return frame.value().toString()
}
