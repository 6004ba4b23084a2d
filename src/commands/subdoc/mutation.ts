/**
 * The commands that change documents: those for one path, and MULTI_MUTATION, of which all
 * operations succeed or none has any effect.
 */
import {
  encodeMutationToken,
  encodeSubdocMutationResults,
  SubdocDocFlag,
  SubdocPathFlag,
  type SubdocMutationResult,
} from '../../../protocol/commands/index.ts'
import { Datatype } from '../../../protocol/datatype.ts'
import { Status } from '../../../protocol/status.ts'
import { systemXattrs } from '../../../protocol/xattrs.ts'
import type { Frame } from '../../../protocol/frame.ts'
import { RecordKind } from '../../storage/record.ts'
import { absoluteExpiry } from '../../vbucket/expiry.ts'
import type { Rewrite } from '../../vbucket/document-rewriter.ts'
import type { Vbucket } from '../../vbucket/vbucket.ts'
import type { Command, Outcome } from '../command.ts'
import { mustBePersisted, replyMutation, replyWhenDurable } from '../mutation-reply.ts'
import { reply } from '../reply.ts'
import type { Session } from '../session.ts'
import { requestOf } from '../store-request.ts'
import { applyPart, type ApplicationOptions } from './application.ts'
import { openBracket } from '../../vbucket/json-bytes.ts'
import { sealMacros } from './macros.ts'
import type { SubdocRequest } from './request.ts'
import { readVersion, type Version } from './version.ts'
import { virtualAttribute } from './virtual-attributes.ts'
import { Workpiece } from './workpiece.ts'

const nothing = Buffer.alloc(0)

function has(request: SubdocRequest, flags: number): boolean {
  return (request.docFlags & flags) !== 0
}

/** Carries out the request, or says why not; nothing has changed then. */
export function mutate(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  command: Command,
  request: SubdocRequest,
): Outcome {
  // Who makes a tombstone means that there is none.
  const makesTombstone =
    has(request, SubdocDocFlag.createAsDeleted) && has(request, SubdocDocFlag.add)
  const seesDeleted = makesTombstone || has(request, SubdocDocFlag.accessDeleted)
  const version = readVersion(session, frame, vbucket, seesDeleted)
  const refusal = checkVersion(session, frame, vbucket, request, version)
  if (refusal !== Status.success) return refusal
  const piece = pieceOf(request, version)
  const results: SubdocMutationResult[] = []
  const options = applicationOptions(session, vbucket, request, version)
  for (const [index, part] of request.parts.entries()) {
    const value = applyPart(piece, part, options)
    if (typeof value === 'number') {
      return request.isMulti ? replyFailure(session, frame, index, value) : value
    }
    if (part.operation.answersValue) results.push({ index, status: Status.success, value })
  }
  const status = write(session, frame, vbucket, request, version, piece)
  if (status !== Status.success) return status
  const isOfTombstone = wasDeleted(request, version) && !has(request, SubdocDocFlag.revive)
  const successStatus = isOfTombstone ? Status.subdocSuccessDeleted : Status.success
  return answer(session, frame, vbucket, command, request, results, successStatus)
}

function checkVersion(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  request: SubdocRequest,
  version: Version | undefined,
): Status {
  const makes = has(request, SubdocDocFlag.add | SubdocDocFlag.makeDocument)
  if (version === undefined && !makes) return Status.keyNotFound
  if (version !== undefined && has(request, SubdocDocFlag.add)) return Status.keyExists
  const status = session.bucket!.rewriter.check(vbucket, requestOf(session, frame), version)
  // Clients without XERROR know nothing of locks.
  if (status === Status.locked && !session.features.xerror) return Status.temporaryFailure
  if (status !== Status.success) return status
  const isAlive = version?.isDeleted === false
  return isAlive && has(request, SubdocDocFlag.revive)
    ? Status.subdocCanOnlyReviveDeletedDocuments
    : Status.success
}

/** Whether what is worked on is a tombstone, or begins as one. */
function wasDeleted(request: SubdocRequest, version: Version | undefined): boolean {
  return version?.isDeleted ?? has(request, SubdocDocFlag.createAsDeleted)
}

function pieceOf(request: SubdocRequest, version: Version | undefined): Workpiece {
  if (version !== undefined) return new Workpiece(version.xattrs, version.body, version.bodyIsJson)
  const root = has(request, SubdocDocFlag.createAsDeleted) ? '' : rootFor(request)
  return new Workpiece(nothing, Buffer.from(root), root !== '')
}

/** The first path says what the root of a new document has to be, even one of attributes. */
function rootFor({ parts }: SubdocRequest): string {
  const first = parts.find(({ operation }) => operation.edit !== undefined)
  if (first === undefined) return ''
  const { path } = first
  return path.length === 0 || path[0] === openBracket ? '[]' : '{}'
}

function applicationOptions(
  session: Session,
  vbucket: Vbucket,
  request: SubdocRequest,
  version: Version | undefined,
): ApplicationOptions {
  const surroundings = { vbucket, nowMs: session.clock.nowMs(), version, seesSystem: false }
  return {
    makesParents: has(request, SubdocDocFlag.add | SubdocDocFlag.makeDocument),
    documentText: () => virtualAttribute('$document', surroundings)!,
  }
}

function write(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  request: SubdocRequest,
  version: Version | undefined,
  piece: Workpiece,
): Status {
  const deletes = request.parts.some(({ operation }) => operation.whole === 'delete')
  const revives = has(request, SubdocDocFlag.revive)
  const isDeletion = deletes || (wasDeleted(request, version) && !revives)
  const { body } = piece
  if (isDeletion && body.length > 0) {
    session.errorContext = 'a tombstone has no body'
    return Status.subdocDeletedDocumentCannotHaveValue
  }
  const section = deletes ? systemXattrs(piece.xattrSection()) : piece.xattrSection()
  const rewrite: Rewrite = {
    kind: isDeletion ? RecordKind.deletion : RecordKind.mutation,
    value: Buffer.concat([section, body]),
    systemXattrBytes: section.length === 0 ? 0 : systemXattrs(section).length,
    datatype: datatypeOf(section, piece, version),
    flags: request.userFlags ?? version?.flags ?? 0,
    time: timeOf(session, request, version, isDeletion),
  }
  const expands = request.parts.some(
    ({ pathFlags }) => (pathFlags & SubdocPathFlag.expandMacros) !== 0,
  )
  const { rewriter } = session.bucket!
  return rewriter.write(vbucket, requestOf(session, frame), rewrite, record => {
    if (expands) sealMacros(record, record.valueStart + section.length)
  })
}

function datatypeOf(section: Buffer, piece: Workpiece, version: Version | undefined): number {
  const xattrBit = section.length > 0 ? Datatype.xattr : 0
  // What was said about a body that has not been touched still holds.
  const isUntouched = version !== undefined && !piece.isBodyChanged
  const isJson = isUntouched ? (version.datatype & Datatype.json) !== 0 : piece.bodyIsJson
  return xattrBit | (isJson ? Datatype.json : 0)
}

function timeOf(
  session: Session,
  request: SubdocRequest,
  version: Version | undefined,
  isDeletion: boolean,
): number {
  const nowSeconds = Math.floor(session.clock.nowMs() / 1000)
  if (isDeletion) return nowSeconds
  const keepsExpiry = session.requirements.preserveExpiry && version?.isDeleted === false
  return keepsExpiry ? version.expiry : absoluteExpiry(request.expiry, nowSeconds)
}

/** The first part that failed, and why. */
function replyFailure(session: Session, frame: Frame, index: number, status: Status): Outcome {
  const value = encodeSubdocMutationResults([{ index, status, value: nothing }])
  return reply(session, frame, { status: Status.subdocMultiPathFailure, value })
}

function answer(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  command: Command,
  request: SubdocRequest,
  results: readonly SubdocMutationResult[],
  status: Status,
): Outcome {
  if (results.length === 0 && status === Status.success) {
    return replyMutation(session, frame, vbucket, command)
  }
  const { cas, seqno } = session.documents.result
  const { vbuuid } = vbucket.failoverLog
  const isJson = !request.isMulti && results.length > 0 && session.features.json
  const parts = {
    status,
    cas,
    extras: session.features.mutationSeqno ? encodeMutationToken({ vbuuid, seqno }) : nothing,
    value: request.isMulti ? encodeSubdocMutationResults(results) : (results[0]?.value ?? nothing),
    datatype: isJson ? Datatype.json : Datatype.raw,
  }
  return mustBePersisted(session)
    ? replyWhenDurable(session, frame, vbucket, command, parts)
    : reply(session, frame, parts)
}
