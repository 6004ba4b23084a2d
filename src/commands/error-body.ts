import { randomUUID } from 'node:crypto'
import { Datatype } from '../../protocol/datatype.ts'
import { Status } from '../../protocol/status.ts'
import { statusText } from '../../protocol/status-table.ts'
import type { Session } from './session.ts'

const empty = Buffer.alloc(0)
const classicBodies = new Map<number, Buffer>()

/** memcached's text; its clients show it, and its test suites read the status from it. */
function classicBody(status: number): Buffer {
  let body = classicBodies.get(status)
  if (body === undefined) {
    body = Buffer.from(statusText(status))
    classicBodies.set(status, body)
  }
  return body
}

/**
 * The body of an error. Clients that negotiated XERROR get a reason, if there is one to give, as
 * JSON with the reference under which the log has it too; others the classic text.
 */
export function errorBody(session: Session, status: number, opcode: number): Buffer {
  if (!session.features.xerror) return classicBody(status)
  const context = session.errorContext
  if (context === '') return empty
  session.errorContext = ''
  const ref = randomUUID()
  session.log.debug({ connection: session.id, status, opcode, ref }, context)
  return Buffer.from(JSON.stringify({ error: { context, ref } }))
}

export function errorDatatype(session: Session, body: Uint8Array): number {
  return session.features.xerror && body.length > 0 ? Datatype.json : Datatype.raw
}

/** What clients that did not negotiate XERROR are told: they know only memcached's statuses. */
const plainStatuses = new Map<number, number>([
  [Status.locked, Status.keyExists],
  [Status.casInvalid, Status.keyExists],
  [Status.notLocked, Status.temporaryFailure],
  [Status.syncWriteInProgress, Status.temporaryFailure],
  [Status.unknownCollection, Status.invalidArguments],
])

/** The status as this client shall see it. */
export function shownStatus(session: Session, status: number): number {
  return session.features.xerror ? status : (plainStatuses.get(status) ?? status)
}
