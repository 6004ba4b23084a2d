/**
 * PLAIN (RFC 4616), one message:
 *
 *   [user to act as] NUL user NUL password
 */
import { isUtf8 } from 'node:buffer'

export interface PlainMessage {
  /** Whom to act as; empty means as oneself. */
  readonly authorization: string
  readonly user: string
  readonly password: string
}

export function encodePlain(user: string, password: string): string {
  return `\0${user}\0${password}`
}

export function decodePlain(message: Uint8Array): PlainMessage | undefined {
  if (!isUtf8(message)) return undefined
  const parts = Buffer.from(message).toString().split('\0')
  if (parts.length !== 3 || parts[1] === '') return undefined
  return { authorization: parts[0]!, user: parts[1]!, password: parts[2]! }
}
