/** Answers of mutations: at once, or when the change is as durable as it has to be. */
import { DurabilityLevel } from '../../protocol/framing.ts'
import { encodeResponse } from '../../protocol/requests.ts'
import { headerLength, writeHeader } from '../../protocol/header.ts'
import { Magic } from '../../protocol/magic.ts'
import { Status } from '../../protocol/status.ts'
import {
  encodeMutationToken,
  mutationTokenLength,
  writeMutationToken,
} from '../../protocol/commands/index.ts'
import type { Frame } from '../../protocol/frame.ts'
import { StatusError } from '../errors.ts'
import type { WriteResult } from '../vbucket/document-writer.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { pending, type Command, type Outcome } from './command.ts'
import { replyHeader } from './reply.ts'
import type { Pending, Reply, Session } from './session.ts'

/**
 * Answers the change that `documents.result` is about. On a single node a majority has it as soon
 * as it is in memory; the levels above, and `--ack disk`, wait until it is fsynced. Quiet commands
 * wait too: an answer behind them tells their client that they have succeeded.
 */
export function replyMutation(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  command: Command,
  value?: Uint8Array,
): Outcome {
  if (mustBePersisted(session)) return replyChange(session, frame, vbucket, command, value)
  if (command.quietSuccess) return Status.success
  const { result } = session.documents
  if (value === undefined && !session.features.mutationSeqno) {
    replyHeader(session, frame, result.casHigh, result.casLow)
  } else {
    replyWithToken(session, frame, vbucket, result, value)
  }
  return Status.success
}

/** Whether the answer to a mutation has to wait for the disk. */
export function mustBePersisted(session: Session): boolean {
  return (
    session.requirements.durabilityLevel > DurabilityLevel.majority ||
    session.node.settings.ack === 'disk'
  )
}

function replyWithToken(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  result: WriteResult,
  value: Uint8Array | undefined,
): void {
  const { output } = session
  const extrasLength = session.features.mutationSeqno ? mutationTokenLength : 0
  const bodyLength = extrasLength + (value?.length ?? 0)
  const at = output.reserve(headerLength + bodyLength)
  const target = output.buffer
  writeHeader(
    target,
    at,
    Magic.response,
    frame.opcode,
    0,
    extrasLength,
    0,
    Status.success,
    bodyLength,
    frame.opaque,
    result.casHigh,
    result.casLow,
  )
  const bodyAt = at + headerLength
  if (extrasLength > 0) {
    writeMutationToken(target, bodyAt, vbucket.failoverLog.vbuuid, result.seqno)
  }
  if (value !== undefined) target.set(value, bodyAt + extrasLength)
}

function replyChange(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  command: Command,
  value: Uint8Array | undefined,
): Outcome {
  const { cas, seqno } = session.documents.result
  const { vbuuid } = vbucket.failoverLog
  const extras = session.features.mutationSeqno ? encodeMutationToken({ vbuuid, seqno }) : undefined
  const parts = { cas, ...(extras && { extras }), ...(value && { value }) }
  return replyWhenPersisted(session, frame, vbucket, command, parts)
}

/** Answers with `parts` once the change that `documents.result` is about is on disk. */
export function replyWhenPersisted(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  command: Command,
  parts: Reply,
): Outcome {
  const { seqno } = session.documents.result
  const { opcode, opaque } = frame
  const bytes = command.quietSuccess ? undefined : encodeResponse({ ...parts, opcode, opaque })
  const answer = session.openPending(frame, command)
  const done = () => answer.answer(Status.success, bytes)
  if (vbucket.persistedSeqno >= seqno) {
    done()
    return pending
  }
  const { durabilityTimeoutMs } = session.requirements
  if (durabilityTimeoutMs > 0) withinTimeout(session, durabilityTimeoutMs, answer, done)
  else session.bucket!.afterDurable(done)
  return pending
}

/** The write stays made; that it did not get durable in time leaves its client in doubt. */
function withinTimeout(
  session: Session,
  timeoutMs: number,
  answer: Pending,
  done: () => void,
): void {
  let isOver = false
  const timer = session.clock.after(timeoutMs, () => {
    isOver = true
    answer.fail(new StatusError(Status.syncWriteAmbiguous, 'not durable within the timeout'))
  })
  session.bucket!.afterDurable(() => {
    if (isOver) return
    timer.cancel()
    done()
  })
}
