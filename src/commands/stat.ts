/** STAT: a group of names and values, one answer each, and one with neither at the end. */
import { headerLength, writeHeader } from '../../protocol/header.ts'
import { Magic } from '../../protocol/magic.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Privilege, type CommandRow, type Outcome } from './command.ts'
import { reply } from './reply.ts'
import type { Session } from './session.ts'
import { collectionDetails, collectionStatistics, scopeStatistics } from './stat-collections.ts'
import { generalStatistics, settingsStatistics } from './stat-general.ts'
import { timings } from './stat-timings.ts'
import { failovers, keyStatistics, vbucketDetails } from './stat-vbucket.ts'
import { vbucketSeqnos, vbucketStates } from './stat-vbucket.ts'

/** Takes one name and its value. */
export type AddStatistic = (name: string, value: string | number | bigint) => void

/**
 * Fills a group; `words` are what follows the group's name. Another status than success refuses,
 * as long as nothing has been added.
 */
export type StatisticsGroup = (
  session: Session,
  add: AddStatistic,
  words: readonly string[],
) => Status

function nothing(): Status {
  return Status.success
}

function reset(session: Session): Status {
  if ((session.privileges & Privilege.admin) === 0) return Status.accessDenied
  session.node.traffic.reset()
  return Status.success
}

const groups: Readonly<Record<string, StatisticsGroup>> = {
  '': generalStatistics,
  settings: settingsStatistics,
  reset,
  // There are no slabs, and nothing is counted by prefix; tools ask all the same.
  items: nothing,
  slabs: nothing,
  sizes: nothing,
  detail: nothing,
  timings,
  vbucket: vbucketStates,
  'vbucket-details': vbucketDetails,
  'vbucket-seqno': vbucketSeqnos,
  failovers,
  key: keyStatistics,
  collections: collectionStatistics,
  'collections-details': collectionDetails,
  scopes: scopeStatistics,
  dcp: (session, add) => dcpStatistics(session, add, 'dcp'),
  parked: (session, add) => dcpStatistics(session, add, 'parked'),
}

function dcpStatistics(session: Session, add: AddStatistic, group: 'dcp' | 'parked'): Status {
  session.node.dcp.stats(add, group, session.bucket)
  return Status.success
}

function stat(session: Session, frame: Frame): Outcome {
  const [name = '', ...words] = frame.key().toString().split(' ')
  const group = Object.hasOwn(groups, name) ? groups[name] : undefined
  if (group === undefined) {
    session.errorContext = `the groups are: ${Object.keys(groups).filter(Boolean).join(', ')}`
    return Status.keyNotFound
  }
  const status = group(session, (key, value) => addRow(session, frame, key, String(value)), words)
  return status === Status.success ? reply(session, frame) : status
}

function addRow(session: Session, frame: Frame, name: string, value: string): void {
  const keyLength = Buffer.byteLength(name)
  const bodyLength = keyLength + Buffer.byteLength(value)
  const at = session.output.reserve(headerLength + bodyLength)
  const { buffer } = session.output
  const { opcode, opaque } = frame
  const { response } = Magic
  writeHeader(buffer, at, response, opcode, keyLength, 0, 0, 0, bodyLength, opaque, 0, 0)
  buffer.write(name, at + headerLength)
  buffer.write(value, at + headerLength + keyLength)
}

export const statRows: readonly CommandRow[] = [
  {
    opcode: Opcode.stat,
    extras: [0],
    key: 'optional',
    value: 'none',
    target: 'node',
    privilege: Privilege.stats,
    run: stat,
  },
]
