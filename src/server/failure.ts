import { AssertionError } from 'node:assert'
import { randomUUID } from 'node:crypto'
import { Status } from '../../protocol/status.ts'
import { OperatorError, StatusError } from '../errors.ts'
import type { Log } from '../log.ts'

/** What is answered for an error that a command threw, and how it is told. */
export interface Failure {
  readonly status: Status
  /** For the client, if it negotiated XERROR. */
  readonly context: string
}

interface FailureRow {
  readonly is: (error: unknown) => boolean
  readonly status: (error: unknown) => Status
  readonly level: 'debug' | 'warn' | 'error'
  /** Whether the message is fit for a client. */
  readonly tells: boolean
}

/** The one table that maps errors to statuses; the first row that fits counts. */
const rows: readonly FailureRow[] = [
  {
    is: error => error instanceof StatusError,
    status: error => (error as StatusError).status,
    level: 'debug',
    tells: true,
  },
  {
    // A full disk and the like: a person has to act, and then the same request works.
    is: error => error instanceof OperatorError,
    status: () => Status.temporaryFailure,
    level: 'warn',
    tells: true,
  },
  { is: () => true, status: () => Status.internalError, level: 'error', tells: false },
]

/**
 * Turns what was thrown into what is answered, and logs it. A broken invariant is thrown again:
 * serving from a broken state would lose data, so it ends the process.
 */
export function failureOf(error: unknown, log: Log, fields: object): Failure {
  if (error instanceof AssertionError) throw error
  const row = rows.find(candidate => candidate.is(error))!
  const status = row.status(error)
  const ref = randomUUID()
  log[row.level]({ ...fields, status, ref, err: error }, 'a request failed')
  const context = row.tells && error instanceof Error ? error.message : `see the log for ${ref}`
  return { status, context }
}
