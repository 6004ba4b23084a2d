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
  auditLog: {
    flag: 'audit-log',
    kind: is.file(),
    default: 'audit.log',
    meaning:
      'File for logins, changes of users and buckets, and refusals; seen from the data folder',
  },
} satisfies Record<string, Option>
