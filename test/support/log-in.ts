import {
  clientProof,
  decodeServerFinal,
  decodeServerFirst,
  encodeClientFinal,
  encodeClientFirst,
  encodePlain,
  scramKeys,
  scramSignature,
  type ScramMechanism,
} from '../../protocol/sasl/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import type { RequestFields } from '../../protocol/requests.ts'

/** What is needed of a test's client. */
interface Caller {
  call(request: RequestFields): Promise<Frame>
}

/** The requests of SCRAM, one after the other; returns the status of the last answer. */
export async function logIn(
  client: Caller,
  user: string,
  password: string,
  mechanism: ScramMechanism = 'SCRAM-SHA512',
): Promise<number> {
  const { header, bare } = encodeClientFirst(user, 'nonce with spaces 0x1d')
  const request = { key: mechanism, value: header + bare }
  const first = await client.call({ opcode: Opcode.saslAuth, ...request })
  if (first.status !== Status.authContinue) return first.status
  const serverFirst = first.value().toString()
  const { nonce, salt, iterations } = decodeServerFirst(serverFirst)!
  const keys = await scramKeys(mechanism, password, salt, iterations)
  const withoutProof = encodeClientFinal(header, nonce)
  const messages = [bare, serverFirst, withoutProof].join(',')
  const proof = clientProof(mechanism, keys, messages).toString('base64')
  const value = `${withoutProof},p=${proof}`
  const last = await client.call({ opcode: Opcode.saslStep, key: mechanism, value })
  if (last.status !== Status.success) return last.status
  const signature = scramSignature(mechanism, keys.serverKey, messages)
  if (!decodeServerFinal(last.value().toString())?.equals(signature)) {
    throw new Error('the server does not know the password')
  }
  return last.status
}

export function plainLogin(user: string, password: string): RequestFields {
  return { opcode: Opcode.saslAuth, key: 'PLAIN', value: encodePlain(user, password) }
}
