/** Who shows a certificate, on any of the ports for TLS. */
import type { TLSSocket } from 'node:tls'
import type { Access } from '../auth/access.ts'
import type { Origin } from '../auth/audit.ts'
import type { Identity } from '../auth/identity.ts'
import { certificateNames } from './certificate-names.ts'

/**
 * The first user whom the client's certificate names; `none` if it shows none, and `refused`, which
 * is written down, if the certificate is no good or names nobody.
 */
export function certifiedUser(
  socket: TLSSocket,
  access: Access,
  origin: Origin,
): Identity | 'none' | 'refused' {
  const names = certificateNames(socket.getPeerCertificate())
  if (names === undefined) return 'none'
  const identity = socket.authorized
    ? names.map(name => access.identityOf(name)).find(known => known !== undefined)
    : undefined
  if (identity !== undefined) return identity
  const reason = socket.authorized ? 'no such user' : String(socket.authorizationError)
  access.failedByCertificate(names, reason, origin)
  return 'refused'
}
