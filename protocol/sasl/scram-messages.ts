/**
 * The four messages of SCRAM (RFC 5802, RFC 7677), without channel binding:
 *
 *   client first   n,,n=user,r=NONCE            `n,,` or `y,,` is the GS2 header
 *   server first   r=NONCE+MORE,s=SALT,i=ITERATIONS
 *   client final   c=HEADER,r=NONCE+MORE,p=PROOF
 *   server final   v=SIGNATURE
 *
 * Salt, header, proof and signature are in Base64. In names `,` is `=2C` and `=` is `=3D`. The RFC
 * has no spaces in nonces; a widely used client sends them, so they are taken.
 */
import { isUtf8 } from 'node:buffer'

export interface ClientFirst {
  /** Repeated by the client's final message, in Base64. */
  readonly header: string
  /** The message without the header: what is signed. */
  readonly bare: string
  /** Whom to act as; empty means as oneself. */
  readonly authorization: string
  readonly user: string
  readonly nonce: string
}

export interface ServerFirst {
  readonly nonce: string
  readonly salt: Buffer
  readonly iterations: number
}

export interface ClientFinal {
  readonly header: string
  readonly nonce: string
  readonly proof: Buffer
  /** The message up to the proof: what is signed. */
  readonly withoutProof: string
}

/** More rounds than anybody asks for; a hostile server could keep a client busy otherwise. */
const iterationsMax = 1_000_000

const clientFirstPattern = /^([ny],(?:a=([^,]+))?,)(n=([^,]+),r=([ -+--~]+)(?:,[A-Za-z]=[^,]*)*)$/s
const serverFirstPattern = /^r=([ -+--~]+),s=([A-Za-z\d+/]+={0,2}),i=([1-9]\d{0,8})(?:,|$)/
const clientFinalPattern =
  /^(c=([A-Za-z\d+/]+={0,2}),r=([ -+--~]+)(?:,[A-Za-z]=[^,]*)*),p=([A-Za-z\d+/]+={0,2})$/
const serverFinalPattern = /^v=([A-Za-z\d+/]+={0,2})(?:,|$)/

export function escapeName(name: string): string {
  return name.replaceAll('=', '=3D').replaceAll(',', '=2C')
}

/** `undefined` where `=` stands for nothing known. */
export function unescapeName(escaped: string): string | undefined {
  if (/=(?!2C|3D)/i.test(escaped)) return undefined
  return escaped.replace(/=2C/gi, ',').replace(/=3D/gi, '=')
}

export function encodeClientFirst(user: string, nonce: string): { header: string; bare: string } {
  return { header: 'n,,', bare: `n=${escapeName(user)},r=${nonce}` }
}

export function decodeClientFirst(message: Uint8Array): ClientFirst | undefined {
  if (!isUtf8(message)) return undefined
  const match = clientFirstPattern.exec(Buffer.from(message).toString())
  if (match === null) return undefined
  const [, header, escapedAuthorization = '', bare, escapedUser, nonce] = match
  const authorization = unescapeName(escapedAuthorization)
  const user = unescapeName(escapedUser!)
  if (authorization === undefined || user === undefined) return undefined
  return { header: header!, bare: bare!, authorization, user, nonce: nonce! }
}

export function encodeServerFirst({ nonce, salt, iterations }: ServerFirst): string {
  return `r=${nonce},s=${salt.toString('base64')},i=${iterations}`
}

export function decodeServerFirst(message: string): ServerFirst | undefined {
  const match = serverFirstPattern.exec(message)
  if (match === null) return undefined
  const iterations = Number(match[3])
  if (iterations > iterationsMax) return undefined
  return { nonce: match[1]!, salt: Buffer.from(match[2]!, 'base64'), iterations }
}

/** What is signed of the client's final message. */
export function encodeClientFinal(header: string, nonce: string): string {
  return `c=${Buffer.from(header).toString('base64')},r=${nonce}`
}

export function decodeClientFinal(message: Uint8Array): ClientFinal | undefined {
  const match = clientFinalPattern.exec(Buffer.from(message).toString('latin1'))
  if (match === null) return undefined
  const [, withoutProof, header, nonce, proof] = match
  return {
    header: Buffer.from(header!, 'base64').toString(),
    nonce: nonce!,
    proof: Buffer.from(proof!, 'base64'),
    withoutProof: withoutProof!,
  }
}

export function encodeServerFinal(signature: Buffer): string {
  return `v=${signature.toString('base64')}`
}

export function decodeServerFinal(message: string): Buffer | undefined {
  const match = serverFinalPattern.exec(message)
  return match === null ? undefined : Buffer.from(match[1]!, 'base64')
}
