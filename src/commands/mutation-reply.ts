/** Answers of mutations: at once, or when the change is as durable as it has to be. */
import { DurabilityLevel } from '../../protocol/framing.ts'
import { encodeResponse } from '../../protocol/requests.ts'
import { headerLength, writeHeader } from '../../protocol/header.ts'
import { Magic } from '../../protocol/magic.ts'
import { Status } from '../../protocol/status.ts'
import { mutationTokenLength, writeMutationToken } from '../../protocol/commands/index.ts'
import type { Frame } from '../../protocol/frame.ts'
import { StatusError } from '../errors.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { beginAnswer } from './answer-header.ts'
import { pending, type Command, type Outcome } from './command.ts'
import { replyHeader } from './reply.ts'
import type { Pending, Reply, Session } from './session.ts'

/** How long a client waits for a durable write if it does not say. */
const durabilityTimeoutDefaultMs = 30_000

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
    replyWithToken(session, frame, vbucket, value)
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
  value: Uint8Array | undefined,
): void {
  const { result } = session.documents
  const tokenLength = tokenLengthFor(session)
  const bodyLength = tokenLength + (value?.length ?? 0)
  const { opcode, opaque } = frame
  const { casHigh, casLow } = result
  const bodyAt = beginAnswer(
    session,
    opcode,
    opaque,
    0,
    tokenLength,
    0,
    Status.success,
    bodyLength,
    casHigh,
    casLow,
  )
  writeChange(session.output.buffer, bodyAt, tokenLength, vbucket, result.seqno, value)
}

/** The same in memory of its own, as it has to wait. */
function changeAnswer(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  value: Uint8Array | undefined,
): Buffer {
  const { result } = session.documents
  const tokenLength = tokenLengthFor(session)
  const bodyLength = tokenLength + (value?.length ?? 0)
  const bytes = Buffer.allocUnsafe(headerLength + bodyLength)
  writeHeader(
    bytes,
    0,
    Magic.response,
    frame.opcode,
    0,
    tokenLength,
    0,
    Status.success,
    bodyLength,
    frame.opaque,
    result.casHigh,
    result.casLow,
  )
  writeChange(bytes, headerLength, tokenLength, vbucket, result.seqno, value)
  return bytes
}

function tokenLengthFor({ features }: Session): number {
  return features.mutationSeqno ? mutationTokenLength : 0
}

/** Positional, as it runs once for every change. */
function writeChange(
  target: Buffer,
  at: number,
  tokenLength: number,
  vbucket: Vbucket,
  seqno: number,
  value: Uint8Array | undefined,
): void {
  if (tokenLength > 0) writeMutationToken(target, at, vbucket.failoverLog.vbuuid, seqno)
  if (value !== undefined) target.set(value, at + tokenLength)
}

function replyChange(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  command: Command,
  value: Uint8Array | undefined,
): Outcome {
  const bytes = command.quietSuccess ? undefined : changeAnswer(session, frame, vbucket, value)
  return answerWhenDurable(session, frame, vbucket, command, bytes)
}

/** Answers with `parts` once the change that `documents.result` is about is durable. */
export function replyWhenDurable(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  command: Command,
  parts: Reply,
): Outcome {
  const { opcode, opaque } = frame
  const bytes = command.quietSuccess ? undefined : encodeResponse({ ...parts, opcode, opaque })
  return answerWhenDurable(session, frame, vbucket, command, bytes)
}

function answerWhenDurable(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  command: Command,
  bytes: Buffer | undefined,
): Outcome {
  const { documents, requirements, bucket } = session
  const answer = session.openPending(frame, command)
  if (vbucket.persistedSeqno >= documents.result.seqno) {
    answer.answer(Status.success, bytes)
    return pending
  }
  const { durabilityLevel, durabilityTimeoutMs } = requirements
  if (durabilityLevel === DurabilityLevel.none) {
    bucket!.afterDurable(error => settle(answer, bytes, error))
  } else {
    withinTimeout(session, durabilityTimeoutMs || durabilityTimeoutDefaultMs, answer, bytes)
  }
  return pending
}

function withinTimeout(
  session: Session,
  timeoutMs: number,
  answer: Pending,
  bytes: Buffer | undefined,
): void {
  let isOver = false
  const timer = session.clock.after(timeoutMs, () => {
    isOver = true
    settle(answer, bytes, new Error('not durable within the timeout'))
  })
  session.bucket!.afterDurable(error => {
    if (isOver) return
    timer.cancel()
    settle(answer, bytes, error)
  })
}

/** The write stays made: that it may not be durable leaves its client in doubt. */
function settle(answer: Pending, bytes: Buffer | undefined, error: Error | undefined): void {
  if (error === undefined) answer.answer(Status.success, bytes)
  else answer.fail(new StatusError(Status.syncWriteAmbiguous, error.message))
}
