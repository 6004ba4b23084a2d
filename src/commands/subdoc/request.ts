/**
 * What a client asks for, read from its frame and checked by all that can be told without the
 * document. Both kinds of commands come to the same form: one operation, or several.
 */
import {
  decodeSubdocExtras,
  decodeSubdocLookups,
  decodeSubdocMultiExtras,
  decodeSubdocMutations,
  SubdocDocFlag,
  SubdocPathFlag,
  subdocSpecsMax,
} from '../../../protocol/commands/index.ts'
import { Status } from '../../../protocol/status.ts'
import type { Frame } from '../../../protocol/frame.ts'
import { Privilege } from '../command.ts'
import type { Session } from '../session.ts'
import { checkPart } from './checks.ts'
import { operationOf, type Operation } from './operations.ts'

/** One operation on one path. */
export interface Part {
  readonly operation: Operation
  /** Bits of `SubdocPathFlag`. */
  readonly pathFlags: number
  readonly path: Buffer
  readonly value: Buffer
}

export interface SubdocRequest {
  readonly isMulti: boolean
  readonly isMutation: boolean
  /** Those of attributes first. */
  readonly parts: readonly Part[]
  /** Bits of `SubdocDocFlag`. */
  readonly docFlags: number
  readonly expiry: number
  readonly userFlags: number | undefined
}

const nothing = Buffer.alloc(0)

/** A request for one path, or why it is refused; the context is then in the session. */
export function readSingle(
  session: Session,
  frame: Frame,
  operation: Operation,
): SubdocRequest | Status {
  const extras = decodeSubdocExtras(frame)
  if (extras === undefined) return refuse(session, 'the path is longer than the value')
  const value = frame.value()
  const part = {
    operation,
    pathFlags: extras.pathFlags,
    path: value.subarray(0, extras.pathLength),
    value: extras.pathLength === value.length ? nothing : value.subarray(extras.pathLength),
  }
  const { docFlags = 0, expiry = 0, userFlags } = extras
  const { isMutation } = operation
  const request = { isMulti: false, isMutation, parts: [part], docFlags, expiry, userFlags }
  const refusal = checkDocFlags(session, frame, request)
  return refusal === Status.success ? checked(session, request) : refusal
}

/** The same for several paths. */
export function readMulti(
  session: Session,
  frame: Frame,
  isMutation: boolean,
): SubdocRequest | Status {
  const { docFlags = 0, expiry = 0, userFlags } = decodeSubdocMultiExtras(frame)!
  const head = { isMulti: true, isMutation, docFlags, expiry, userFlags }
  const refusal = checkDocFlags(session, frame, { ...head, parts: [] })
  if (refusal !== Status.success) return refusal
  if (frame.valueLength === 0) return refuse(session, 'no paths', Status.subdocInvalidCombination)
  const specs = isMutation ? decodeSubdocMutations(frame) : decodeSubdocLookups(frame)
  if (specs === undefined) return refuse(session, 'a path or value is cut off')
  if (specs.length > subdocSpecsMax) {
    const context = `at most ${subdocSpecsMax} paths`
    return refuse(session, context, Status.subdocInvalidCombination)
  }
  const parts: Part[] = []
  for (const spec of specs) {
    const operation = operationOf(spec.opcode)
    if (operation === undefined || operation.isMutation !== isMutation) {
      const context = `opcode 0x${spec.opcode.toString(16)} has no place here`
      return refuse(session, context, Status.subdocInvalidCombination)
    }
    const { pathFlags, path } = spec
    parts.push({
      operation,
      pathFlags,
      path,
      value: 'value' in spec ? (spec.value as Buffer) : nothing,
    })
  }
  // Numbers that are told have been read.
  const tells = isMutation && parts.some(({ operation }) => operation.answersValue)
  if (tells && (session.privileges & Privilege.read) === 0) return Status.accessDenied
  return checked(session, { ...head, parts })
}

function refuse(
  session: Session,
  context: string,
  status: Status = Status.invalidArguments,
): Status {
  session.errorContext = context
  return status
}

const anyDocFlag = Object.values(SubdocDocFlag).reduce((bits, flag) => bits | flag, 0)

/** What is wrong with the doc flags by themselves; empty: nothing. */
function docFlagsFault(flags: number, hasCas: boolean): string {
  const has = (flag: number) => (flags & flag) !== 0
  const { add, makeDocument, accessDeleted, createAsDeleted, revive } = SubdocDocFlag
  if (has(~anyDocFlag)) return `unknown doc flags 0x${flags.toString(16)}`
  if (has(add) && hasCas) return 'a document that is not there has no cas'
  if (has(add) && has(makeDocument)) return 'add and make document contradict each other'
  if (has(createAsDeleted) && !has(add | makeDocument)) {
    return 'create as deleted needs add or make document'
  }
  if (has(revive) && !has(accessDeleted)) return 'reviving needs access to what is deleted'
  if (has(revive) && has(createAsDeleted))
    return 'revive and create as deleted contradict each other'
  return ''
}

function checkDocFlags(session: Session, frame: Frame, request: SubdocRequest): Status {
  const hasCas = (frame.casHigh | frame.casLow) !== 0
  const fault = docFlagsFault(request.docFlags, hasCas)
  return fault === '' ? Status.success : refuse(session, fault)
}

function checked(session: Session, request: SubdocRequest): SubdocRequest | Status {
  let seesBody = false
  for (const [index, part] of request.parts.entries()) {
    const refusal = checkPart(session, part, request)
    if (refusal !== Status.success) return refusal
    const isXattr = (part.pathFlags & SubdocPathFlag.xattr) !== 0
    if (isXattr && seesBody)
      return refuse(session, 'attributes come first', Status.subdocInvalidXattrOrder)
    // What deletes the document is the only one, and the last, to touch its body.
    const isDeletion = part.operation.whole === 'delete'
    if (isDeletion && (seesBody || index < request.parts.length - 1)) {
      return refuse(session, 'a deletion stands alone', Status.subdocInvalidCombination)
    }
    seesBody ||= !isXattr
  }
  return request
}
