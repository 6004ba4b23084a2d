import type { PeerCertificate } from 'node:tls'

/**
 * Whom a client's certificate may name: its common name first, then the e-mail addresses, DNS names
 * and URIs it was issued for. `undefined`: there is no certificate.
 */
export function certificateNames(certificate: PeerCertificate): string[] | undefined {
  // What is there of a certificate is typed as if it always were.
  const { subject, subjectaltname } = certificate as Partial<PeerCertificate>
  if (subject === undefined && subjectaltname === undefined) return undefined
  const commonName: unknown = subject?.CN
  const alternatives = (subjectaltname ?? '').split(', ').flatMap(name => {
    // What needed quotes could be mistaken for another name.
    const match = /^(?:email|DNS|URI):([^"]+)$/.exec(name)
    return match === null ? [] : [match[1]!]
  })
  return typeof commonName === 'string' ? [commonName, ...alternatives] : alternatives
}
