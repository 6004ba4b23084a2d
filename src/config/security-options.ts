import { saslMechanisms } from '../../protocol/sasl/index.ts'
import * as is from './kinds.ts'
import type { Option } from './option.ts'

/** Settings about who may come in. */
export const security = {
  noAuth: {
    flag: 'no-auth',
    kind: is.boolean(),
    default: false,
    meaning:
      'Let everybody do everything without logging in, even if there are users; loopback only',
  },
  saslMechanisms: {
    flag: 'sasl-mechanisms',
    kind: is.words(saslMechanisms),
    default: saslMechanisms,
    meaning:
      'Ways to log in on the plain port; without PLAIN no password crosses it, but some clients know no other',
  },
  loginTimeoutSeconds: {
    flag: 'login-timeout',
    kind: is.duration({ min: 0.05, max: 3_600 }),
    default: 30,
    meaning: 'How long a client may take to log in, and may leave a request half sent',
  },
  tlsPort: {
    flag: 'tls-port',
    kind: is.portOrOff(),
    default: 'off' as const,
    meaning: 'Port for the same clients by TLS (11207 is usual); 0 picks a free one',
  },
  httpsPort: {
    flag: 'https-port',
    kind: is.portOrOff(),
    default: 'off' as const,
    meaning: 'Port for the same pages as HTTP by TLS (18091 is usual); 0 picks a free one',
  },
  tlsCertificate: {
    flag: 'tls-certificate',
    kind: is.fileOrNone(),
    default: 'none',
    meaning:
      'Certificate of this node with those that lead to its authority, PEM; read again when it changes',
  },
  tlsKey: {
    flag: 'tls-key',
    kind: is.fileOrNone(),
    default: 'none',
    meaning: 'Private key of the certificate, PEM',
  },
  tlsClientCa: {
    flag: 'tls-client-ca',
    kind: is.fileOrNone(),
    default: 'none',
    meaning: 'Authority (PEM) whose certificates log in the users that they name',
  },
  auditLog: {
    flag: 'audit-log',
    kind: is.file(),
    default: 'audit.log',
    meaning:
      'File for logins, changes of users and buckets, and refusals; seen from the data folder',
  },
} satisfies Record<string, Option>
