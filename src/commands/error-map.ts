/** GET_ERROR_MAP: what each status means and what to do about it, for clients older than it. */
import { decodeErrorMapVersion } from '../../protocol/commands/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status, type StatusName } from '../../protocol/status.ts'
import { statusTable, type Retry, type StatusRow } from '../../protocol/status-table.ts'
import { Datatype } from '../../protocol/datatype.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Privilege, type CommandRow, type Outcome } from './command.ts'
import { reply } from './reply.ts'
import type { Session } from './session.ts'

/** Grows whenever the table of statuses does. */
const revision = 1

const retryAttributes: Readonly<Record<Retry, readonly string[]>> = {
  never: ['no-retry'],
  now: ['retry-now'],
  'after-map': ['fetch-config', 'retry-now'],
  later: ['temp', 'retry-later'],
}

/** What a status is about, where its retry does not say it. */
const attributesOf: Partial<Record<StatusName, readonly string[]>> = {
  success: ['success'],
  keyNotFound: ['item-only'],
  keyExists: ['item-only'],
  tooLarge: ['item-only', 'invalid-input'],
  invalidArguments: ['invalid-input'],
  notStored: ['item-only'],
  badDelta: ['item-only', 'invalid-input'],
  noBucket: ['conn-state-invalidated'],
  locked: ['item-locked', 'item-only'],
  notLocked: ['item-only'],
  streamNotFound: ['dcp'],
  opaqueNoMatch: ['dcp'],
  authStale: ['conn-state-invalidated', 'auth'],
  authError: ['conn-state-invalidated', 'auth'],
  authContinue: ['special-handling', 'auth'],
  rollback: ['dcp', 'special-handling'],
  accessDenied: ['auth'],
  unknownCommand: ['support'],
  notSupported: ['support'],
  internalError: ['internal'],
  streamIdInvalid: ['dcp'],
  durabilityInvalidLevel: ['invalid-input'],
}

/** A client must not be told both that it may and that it must not try again. */
function attributes(row: StatusRow): string[] {
  const about = attributesOf[row.name] ?? []
  if (row.name === 'success' || about.includes('special-handling')) return [...about]
  const subdoc = row.name.startsWith('subdoc') ? ['subdoc'] : []
  return [...about, ...subdoc, ...retryAttributes[row.retry]]
}

function errorMap(version: number): string {
  const errors = statusTable.map(row => {
    const entry = { name: row.name, desc: row.meaning, attrs: attributes(row) }
    return [row.code.toString(16), entry] as const
  })
  return JSON.stringify({ version, revision, errors: Object.fromEntries(errors) })
}

const texts = [errorMap(1), errorMap(2)]

function getErrorMap(session: Session, frame: Frame): Outcome {
  const version = decodeErrorMapVersion(frame)
  if (version === undefined || version === 0) {
    session.errorContext = 'the value is the highest version understood, in two bytes'
    return Status.invalidArguments
  }
  const value = texts[Math.min(version, texts.length) - 1]!
  return reply(session, frame, { value, datatype: session.features.json ? Datatype.json : 0 })
}

export const errorMapRows: readonly CommandRow[] = [
  {
    opcode: Opcode.getErrorMap,
    extras: [0],
    key: 'none',
    value: 'required',
    target: 'node',
    privilege: Privilege.none,
    run: getErrorMap,
  },
]
