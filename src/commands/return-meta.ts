/** RETURN_META: a mutation whose answer tells the metadata that the document has now. */
import {
  decodeReturnMeta,
  encodeReturnedMeta,
  returnMetaExtrasLength,
  ReturnMetaMutation,
} from '../../protocol/commands/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { Privilege, type Command, type CommandRow, type Outcome } from './command.ts'
import { mustBePersisted, replyWhenDurable } from './mutation-reply.ts'
import { reply } from './reply.ts'
import type { Session } from './session.ts'
import { requestOf } from './store-request.ts'

function returnMeta(session: Session, frame: Frame, vbucket: Vbucket, command: Command): Outcome {
  const asked = decodeReturnMeta(frame)
  if (asked === undefined) {
    session.errorContext = 'there is no such mutation'
    return Status.invalidArguments
  }
  const { documents } = session
  const request = requestOf(session, frame)
  request.flags = asked.flags
  request.expiry = asked.expiry
  request.mode = asked.mutation === ReturnMetaMutation.add ? 'add' : 'set'
  const status =
    asked.mutation === ReturnMetaMutation.delete
      ? documents.remove(vbucket, request)
      : documents.store(vbucket, request)
  if (status !== Status.success) return status
  const { bytes, keyStart, keyLength } = frame
  const { flags, expiry, deleteTime, revno, isDeletion } = documents.getMeta(
    vbucket,
    bytes,
    keyStart,
    keyLength,
  )!
  const extras = encodeReturnedMeta({ flags, expiry: isDeletion ? deleteTime : expiry, revno })
  const parts = { extras, cas: documents.result.cas }
  if (mustBePersisted(session)) return replyWhenDurable(session, frame, vbucket, command, parts)
  return reply(session, frame, parts)
}

export const returnMetaRows: readonly CommandRow[] = [
  {
    opcode: Opcode.returnMeta,
    extras: [returnMetaExtrasLength],
    key: 'required',
    value: 'optional',
    target: 'active',
    privilege: Privilege.meta,
    writes: true,
    run: returnMeta,
  },
]
