/** The sub-document commands' rows of the table. */
import {
  subdocLookupExtrasLengths,
  subdocMultiLookupExtrasLengths,
  subdocMultiMutationExtrasLengths,
  subdocMutationExtrasLengths,
} from '../../../protocol/commands/index.ts'
import { Opcode } from '../../../protocol/opcode.ts'
import { Privilege, type CommandRow, type Run } from '../command.ts'
import { lookUp } from './lookup.ts'
import { mutate } from './mutation.ts'
import { pathOperations, type Operation } from './operations.ts'
import { readMulti, readSingle } from './request.ts'

/** Of a lookup the request says which state the vbucket has to be in. */
const reading = {
  key: 'required',
  value: 'optional',
  target: 'vbucket',
  privilege: Privilege.read,
} as const
const writing = {
  key: 'required',
  value: 'optional',
  target: 'active',
  privilege: Privilege.write,
  writes: true,
} as const

function runSingle(operation: Operation): Run {
  return (session, frame, vbucket, command) => {
    const request = readSingle(session, frame, operation)
    if (typeof request === 'number') return request
    return operation.isMutation
      ? mutate(session, frame, vbucket, command, request)
      : lookUp(session, frame, vbucket, request)
  }
}

function runMulti(isMutation: boolean): Run {
  return (session, frame, vbucket, command) => {
    const request = readMulti(session, frame, isMutation)
    if (typeof request === 'number') return request
    return isMutation
      ? mutate(session, frame, vbucket, command, request)
      : lookUp(session, frame, vbucket, request)
  }
}

function rowOf(operation: Operation): CommandRow {
  const { opcode, isMutation } = operation
  const run = runSingle(operation)
  const told = operation.answersValue ? Privilege.read : Privilege.none
  return isMutation
    ? {
        ...writing,
        privilege: Privilege.write | told,
        opcode,
        extras: subdocMutationExtrasLengths,
        run,
      }
    : { ...reading, opcode, extras: subdocLookupExtrasLengths, run }
}

export const subdocRows: readonly CommandRow[] = [
  ...pathOperations.map(rowOf),
  {
    ...reading,
    opcode: Opcode.subdocMultiLookup,
    extras: subdocMultiLookupExtrasLengths,
    run: runMulti(false),
  },
  {
    ...writing,
    opcode: Opcode.subdocMultiMutation,
    extras: subdocMultiMutationExtrasLengths,
    run: runMulti(true),
  },
]
