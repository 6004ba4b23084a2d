import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import type { StoreMode } from '../vbucket/store-request.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { Privilege, type Command, type CommandRow, type Outcome, type Run } from './command.ts'
import { replyMutation } from './mutation-reply.ts'
import type { Session } from './session.ts'
import { requestOf } from './store-request.ts'

/** Extras: flags, expiry. */
function store(mode: StoreMode): Run {
  return (session, frame, vbucket, command) => {
    const request = requestOf(session, frame)
    request.flags = frame.extrasUint32(0)
    request.expiry = frame.extrasUint32(4)
    request.mode = mode
    const status = session.documents.store(vbucket, request)
    if (status !== Status.success) return status
    return replyMutation(session, frame, vbucket, command)
  }
}

function concatenate(where: 'append' | 'prepend'): Run {
  return (session, frame, vbucket, command) => {
    const status = session.documents.concatenate(vbucket, requestOf(session, frame), where)
    if (status !== Status.success) return status
    return replyMutation(session, frame, vbucket, command)
  }
}

function remove(session: Session, frame: Frame, vbucket: Vbucket, command: Command): Outcome {
  const { documents } = session
  const status = documents.remove(vbucket, requestOf(session, frame))
  if (status !== Status.success) return status
  // memcached's clients check that there is none; Couchbase's want that of the tombstone.
  if (!session.features.saidHello) documents.result.casHigh = documents.result.casLow = 0
  return replyMutation(session, frame, vbucket, command)
}

const write = {
  value: 'optional',
  key: 'required',
  target: 'active',
  privilege: Privilege.write,
  writes: true,
  takesSnappy: true,
} as const
const storing = { ...write, extras: [8] }
const adding = { ...storing, run: store('add') }
const setting = { ...storing, run: store('set') }
const replacing = { ...storing, run: store('replace') }
const appending = { ...write, extras: [0], run: concatenate('append') }
const prepending = { ...write, extras: [0], run: concatenate('prepend') }
const removing = { ...write, extras: [0], value: 'none', run: remove } as const

export const storeRows: readonly CommandRow[] = [
  { ...setting, opcode: Opcode.set },
  { ...setting, opcode: Opcode.setq, quiet: 'success' },
  { ...adding, opcode: Opcode.add },
  { ...adding, opcode: Opcode.addq, quiet: 'success' },
  { ...replacing, opcode: Opcode.replace },
  { ...replacing, opcode: Opcode.replaceq, quiet: 'success' },
  { ...appending, opcode: Opcode.append },
  { ...appending, opcode: Opcode.appendq, quiet: 'success' },
  { ...prepending, opcode: Opcode.prepend },
  { ...prepending, opcode: Opcode.prependq, quiet: 'success' },
  { ...removing, opcode: Opcode.delete },
  { ...removing, opcode: Opcode.deleteq, quiet: 'success' },
]
