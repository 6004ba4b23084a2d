/** The ways to log in that clients and server know. */
import { createHash } from 'node:crypto'

/** Strongest first, which is how a server lists them. */
export const saslMechanisms = ['SCRAM-SHA512', 'SCRAM-SHA256', 'SCRAM-SHA1', 'PLAIN'] as const
export type SaslMechanism = (typeof saslMechanisms)[number]
export type ScramMechanism = Exclude<SaslMechanism, 'PLAIN'>

/** As `node:crypto` calls them. */
const hashes = {
  'SCRAM-SHA512': 'sha512',
  'SCRAM-SHA256': 'sha256',
  'SCRAM-SHA1': 'sha1',
} as const satisfies Record<ScramMechanism, string>

export const scramMechanisms = Object.keys(hashes) as ScramMechanism[]

export function hashOf(mechanism: ScramMechanism): string {
  return hashes[mechanism]
}

/** The length of its keys and signatures. */
export function hashLength(mechanism: ScramMechanism): number {
  return createHash(hashOf(mechanism)).digest().length
}

export function isScram(mechanism: SaslMechanism): mechanism is ScramMechanism {
  return mechanism !== 'PLAIN'
}

export function saslMechanismOf(name: string): SaslMechanism | undefined {
  return saslMechanisms.find(mechanism => mechanism === name)
}
