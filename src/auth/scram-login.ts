import { randomBytes } from 'node:crypto'
import {
  decodeClientFinal,
  decodeClientFirst,
  encodeServerFinal,
  encodeServerFirst,
  isProof,
  scramSignature,
  type ClientFirst,
  type ScramMechanism,
} from '../../protocol/sasl/index.ts'
import { actsAsAnother, malformed, notLetIn, type Login, type LoginAnswer } from './login.ts'
import type { Identity } from './identity.ts'
import type { Verifier } from './user.ts'

/** What a login needs of those who know the users. */
export interface ScramUsers {
  readonly iterations: number
  /** Of a user who is not there, too: one that no password fits, the same each time. */
  verifierOf(user: string, mechanism: ScramMechanism): Verifier
  /** `isRight` is asked when it is the turn of this attempt. */
  settle(user: string, verifier: Verifier, isRight: () => boolean): Promise<Identity | undefined>
}

interface Begun extends ClientFirst {
  readonly verifier: Verifier
  readonly serverFirst: string
  readonly nonces: string
}

/** The server's side of SCRAM. */
export class ScramLogin implements Login {
  readonly #mechanism: ScramMechanism
  readonly #users: ScramUsers
  readonly #serverNonce: string
  #begun: Begun | undefined
  #isOver = false

  constructor(
    mechanism: ScramMechanism,
    users: ScramUsers,
    serverNonce = randomBytes(18).toString('base64'),
  ) {
    this.#mechanism = mechanism
    this.#users = users
    this.#serverNonce = serverNonce
  }

  async step(message: Uint8Array): Promise<LoginAnswer> {
    if (this.#isOver) return malformed(this.#mechanism)
    const begun = this.#begun
    const answer = begun === undefined ? this.#begin(message) : await this.#finish(begun, message)
    this.#isOver = answer.kind !== 'continue'
    return answer
  }

  #begin(message: Uint8Array): LoginAnswer {
    const first = decodeClientFirst(message)
    if (first === undefined) return malformed(this.#mechanism)
    const { authorization, user, nonce } = first
    if (authorization !== '' && authorization !== user) return actsAsAnother
    const nonces = nonce + this.#serverNonce
    const verifier = this.#users.verifierOf(user, this.#mechanism)
    const { iterations } = this.#users
    const serverFirst = encodeServerFirst({ nonce: nonces, salt: verifier.salt, iterations })
    this.#begun = { ...first, verifier, serverFirst, nonces }
    return { kind: 'continue', value: serverFirst }
  }

  async #finish(begun: Begun, message: Uint8Array): Promise<LoginAnswer> {
    const final = decodeClientFinal(message)
    if (final === undefined || final.header !== begun.header || final.nonce !== begun.nonces) {
      return malformed(this.#mechanism)
    }
    const { verifier, user } = begun
    const messages = [begun.bare, begun.serverFirst, final.withoutProof].join(',')
    const isRight = () => isProof(this.#mechanism, final.proof, verifier.storedKey, messages)
    const identity = await this.#users.settle(user, verifier, isRight)
    if (identity === undefined) return notLetIn
    const signature = scramSignature(this.#mechanism, verifier.serverKey, messages)
    return { kind: 'done', value: encodeServerFinal(signature), identity }
  }
}
