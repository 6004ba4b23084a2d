/** One client's way through a mechanism, as the commands for it see it. */
import type { Identity } from './identity.ts'

export type LoginAnswer =
  | { readonly kind: 'continue'; readonly value: string }
  | { readonly kind: 'done'; readonly value: string; readonly identity: Identity }
  /** `malformed`: the message is none of the mechanism's; otherwise somebody is not let in. */
  | { readonly kind: 'refused'; readonly reason: string }

export interface Login {
  /** Takes the client's next message. After any other answer than `continue` it is over. */
  step(message: Uint8Array): Promise<LoginAnswer>
}

/** The same for a wrong password, an unknown user, and one that may not come in just now. */
export const notLetIn: LoginAnswer = { kind: 'refused', reason: 'user and password do not match' }

export function malformed(mechanism: string): LoginAnswer {
  return { kind: 'refused', reason: `this is no message of ${mechanism}, or not the one expected` }
}

/** Which nobody may, by whatever name. */
export const actsAsAnother: LoginAnswer = {
  kind: 'refused',
  reason: 'nobody may act as another user',
}
