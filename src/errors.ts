import { AssertionError } from 'node:assert'
import type { Status } from '../protocol/status.ts'

/**
 * Thrown by code that cannot go on with *this request*; the dispatcher is the only place that
 * catches it and answers `status`. A miss or a CAS mismatch is no exception but a returned status.
 */
export class StatusError extends Error {
  readonly status: Status
  constructor(status: Status, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'StatusError'
    this.status = status
  }
}

/**
 * A fault of the world that a person has to mend: bad configuration, disk full, a store in use.
 * `code` is stable and documented; `hint` says what to do.
 */
export class OperatorError extends Error {
  readonly code: string
  readonly hint: string
  constructor(code: string, message: string, hint: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'OperatorError'
    this.code = code
    this.hint = hint
  }
}

/** Holds or the process must stop: serving from a broken state would lose data. Never caught. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError({ message })
}
