/**
 * What both sides of SCRAM compute:
 *
 *   salted = PBKDF2(password, salt, iterations)
 *   client key = HMAC(salted, "Client Key")      stored key = HASH(client key)
 *   server key = HMAC(salted, "Server Key")
 *   proof = client key XOR HMAC(stored key, messages)      signature = HMAC(server key, messages)
 *
 * The server keeps salt, stored key and server key, with which nobody can log in.
 */
import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { hashLength, hashOf, type ScramMechanism } from './mechanism.ts'

const derive = promisify(pbkdf2)

export interface ScramKeys {
  readonly clientKey: Buffer
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

/** Computed on a thread of its own: with many iterations it takes tens of milliseconds. */
export async function scramKeys(
  mechanism: ScramMechanism,
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<ScramKeys> {
  const hash = hashOf(mechanism)
  const salted = await derive(password, salt, iterations, hashLength(mechanism), hash)
  const clientKey = createHmac(hash, salted).update('Client Key').digest()
  const serverKey = createHmac(hash, salted).update('Server Key').digest()
  return { clientKey, storedKey: createHash(hash).update(clientKey).digest(), serverKey }
}

/** `messages`: client first (bare), server first, client final without its proof. */
export function scramSignature(mechanism: ScramMechanism, key: Buffer, messages: string): Buffer {
  return createHmac(hashOf(mechanism), key).update(messages).digest()
}

export function clientProof(mechanism: ScramMechanism, keys: ScramKeys, messages: string): Buffer {
  return exclusiveOr(keys.clientKey, scramSignature(mechanism, keys.storedKey, messages))
}

/** Whether whoever made the proof knows the client key. Takes the same time whatever it finds. */
export function isProof(
  mechanism: ScramMechanism,
  proof: Buffer,
  storedKey: Buffer,
  messages: string,
): boolean {
  if (proof.length !== storedKey.length) return false
  const clientKey = exclusiveOr(proof, scramSignature(mechanism, storedKey, messages))
  return timingSafeEqual(createHash(hashOf(mechanism)).update(clientKey).digest(), storedKey)
}

function exclusiveOr(one: Buffer, other: Buffer): Buffer {
  return Buffer.from(one.map((byte, index) => byte ^ other[index]!))
}
