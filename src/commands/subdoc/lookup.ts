/** The commands that only read: SUBDOC_GET, EXISTS, GET_COUNT, and MULTI_LOOKUP. */
import {
  encodeSubdocLookupResults,
  SubdocDocFlag,
  SubdocPathFlag,
  type SubdocLookupResult,
} from '../../../protocol/commands/index.ts'
import { uint64From } from '../../../protocol/bytes.ts'
import { Datatype } from '../../../protocol/datatype.ts'
import { Status } from '../../../protocol/status.ts'
import { VbucketState } from '../../../protocol/vbucket-state.ts'
import { isVirtualXattr, xattrKeyLength } from '../../../protocol/xattrs.ts'
import type { Frame } from '../../../protocol/frame.ts'
import type { Vbucket } from '../../vbucket/vbucket.ts'
import { replyNotMyVbucket } from '../cluster-config.ts'
import { Privilege, type Outcome } from '../command.ts'
import { reply } from '../reply.ts'
import type { Session } from '../session.ts'
import { decodeBinaryValue } from './binary-value.ts'
import type { Part, SubdocRequest } from './request.ts'
import { readVersion, shownCas, type Version } from './version.ts'
import { virtualAttribute } from './virtual-attributes.ts'
import { Workpiece } from './workpiece.ts'

const nothing = Buffer.alloc(0)

/** Reads what the request asks for, from the replica's copy if it says so. */
export function lookUp(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  request: SubdocRequest,
): Outcome {
  const { docFlags } = request
  const readsReplica = (docFlags & SubdocDocFlag.replicaRead) !== 0
  if (vbucket.state !== (readsReplica ? VbucketState.replica : VbucketState.active)) {
    return replyNotMyVbucket(session, frame)
  }
  const seesDeleted = (docFlags & SubdocDocFlag.accessDeleted) !== 0
  const version = readVersion(session, frame, vbucket, seesDeleted)
  if (version === undefined) return Status.keyNotFound
  const [casHigh, casLow] = shownCas(version)
  if ((frame.casHigh | frame.casLow) !== 0) {
    if (frame.casHigh !== casHigh || frame.casLow !== casLow) return Status.keyExists
  }
  if ((docFlags & SubdocDocFlag.revive) !== 0 && !version.isDeleted) {
    return Status.subdocCanOnlyReviveDeletedDocuments
  }
  const find = finder(session, vbucket, version)
  const cas = uint64From(casHigh, casLow)
  return request.isMulti
    ? answerAll(session, frame, request, version, cas, find)
    : answerOne(session, frame, request, version, cas, find)
}

type Find = (part: Part) => Buffer | Status

/** Looks up one path after the other in the same version. */
function finder(session: Session, vbucket: Vbucket, version: Version): Find {
  const piece = new Workpiece(version.xattrs, version.body, version.bodyIsJson)
  return part => {
    const { operation, pathFlags, path } = part
    if (operation.lookup === undefined) {
      return piece.body.length > 0 ? piece.body : Status.subdocPathNotFound
    }
    if ((pathFlags & SubdocPathFlag.xattr) === 0) {
      return piece.bodyIsJson ? operation.lookup(piece.body, path) : Status.subdocDocumentNotJson
    }
    if (!isVirtualXattr(path)) return asAsked(part, operation.lookup(piece.attributes, path))
    const name = path.toString('latin1', 0, xattrKeyLength(path))
    const nowMs = session.clock.nowMs()
    const seesSystem = (session.privileges & Privilege.systemRead) !== 0
    const text = virtualAttribute(name, { vbucket, nowMs, version, seesSystem })
    if (text === undefined) return Status.subdocXattrUnknownVirtualAttribute
    return asAsked(part, operation.lookup(text, path))
  }
}

/** A value of an attribute, as the bytes that it stands for if those are wanted. */
function asAsked({ pathFlags }: Part, value: Buffer | Status): Buffer | Status {
  if (typeof value === 'number' || (pathFlags & SubdocPathFlag.binaryValue) === 0) return value
  return decodeBinaryValue(value) ?? Status.subdocFieldNotBinaryValue
}

function answerOne(
  session: Session,
  frame: Frame,
  request: SubdocRequest,
  version: Version,
  cas: bigint,
  find: Find,
): Outcome {
  const part = request.parts[0]!
  const value = find(part)
  if (typeof value === 'number') return value
  const isBinary = (part.pathFlags & SubdocPathFlag.binaryValue) !== 0
  const isJson = part.operation.answersValue && !isBinary && session.features.json
  return reply(session, frame, {
    status: version.isDeleted ? Status.subdocSuccessDeleted : Status.success,
    cas,
    value,
    datatype: isJson ? Datatype.json : Datatype.raw,
  })
}

function answerAll(
  session: Session,
  frame: Frame,
  request: SubdocRequest,
  version: Version,
  cas: bigint,
  find: Find,
): Outcome {
  const results = request.parts.map<SubdocLookupResult>(part => {
    const value = find(part)
    return typeof value === 'number'
      ? { status: value, value: nothing }
      : { status: Status.success, value }
  })
  const isWhole = results.every(({ status }) => status === Status.success)
  const value = encodeSubdocLookupResults(results)
  return reply(session, frame, { status: statusOfAll(isWhole, version.isDeleted), cas, value })
}

function statusOfAll(isWhole: boolean, isDeleted: boolean): Status {
  if (isWhole) return isDeleted ? Status.subdocSuccessDeleted : Status.success
  return isDeleted ? Status.subdocMultiPathFailureDeleted : Status.subdocMultiPathFailure
}
