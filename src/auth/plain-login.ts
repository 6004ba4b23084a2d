import { decodePlain } from '../../protocol/sasl/index.ts'
import { actsAsAnother, malformed, notLetIn, type Login, type LoginAnswer } from './login.ts'
import type { Identity } from './identity.ts'

/** The server's side of PLAIN. */
export class PlainLogin implements Login {
  readonly #check: (user: string, password: string) => Promise<Identity | undefined>

  constructor(check: (user: string, password: string) => Promise<Identity | undefined>) {
    this.#check = check
  }

  async step(message: Uint8Array): Promise<LoginAnswer> {
    const plain = decodePlain(message)
    if (plain === undefined) return malformed('PLAIN')
    const { authorization, user, password } = plain
    if (authorization !== '' && authorization !== user) return actsAsAnother
    const identity = await this.#check(user, password)
    return identity === undefined ? notLetIn : { kind: 'done', value: 'Authenticated', identity }
  }
}
