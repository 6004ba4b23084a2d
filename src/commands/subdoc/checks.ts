/** The checks of one operation on one path, in the order in which clients expect their statuses. */
import {
  SubdocDocFlag,
  SubdocPathFlag,
  subdocPathBytesMax,
} from '../../../protocol/commands/index.ts'
import { Status } from '../../../protocol/status.ts'
import { isSystemXattr, isVirtualXattr, xattrKeyLength } from '../../../protocol/xattrs.ts'
import { Privilege } from '../command.ts'
import type { Session } from '../session.ts'
import { hasBadBinaryValue } from './binary-value.ts'
import { isMacro } from './macros.ts'
import type { Part, SubdocRequest } from './request.ts'

interface Fault {
  readonly status: Status
  readonly context: string
}

const { xattr, expandMacros, binaryValue } = SubdocPathFlag

function fault(context: string, status: Status = Status.invalidArguments): Fault {
  return { status, context }
}

/** Success, or why not; the context is then in the session. */
export function checkPart(session: Session, part: Part, request: SubdocRequest): Status {
  const found =
    shapeFault(part) ??
    flagsFault(part, request) ??
    xattrFault(session, part) ??
    (part.path.length === 0 && !part.operation.takesRoot ? fault('a path is needed') : undefined)
  if (found === undefined) return Status.success
  session.errorContext = found.context
  return found.status
}

function shapeFault({ operation, path, value }: Part): Fault | undefined {
  if (path.length > subdocPathBytesMax) {
    return fault(`a path has at most ${subdocPathBytesMax} bytes`)
  }
  if (operation.isPathless && path.length > 0) return fault('the whole document has no path')
  if (operation.takesValue === (value.length === 0)) {
    return fault(operation.takesValue ? 'a value is needed' : 'no value is taken')
  }
  return undefined
}

function flagsFault(
  { operation, pathFlags }: Part,
  { docFlags }: SubdocRequest,
): Fault | undefined {
  if ((pathFlags & ~operation.pathFlags) !== 0) {
    return fault(`path flags 0x${pathFlags.toString(16)} are not for this`)
  }
  if ((pathFlags & operation.pathFlagsNeeded) !== operation.pathFlagsNeeded) {
    return fault('the path has to be one of attributes')
  }
  if ((docFlags & ~operation.docFlags) !== 0) {
    return fault(`doc flags 0x${docFlags.toString(16)} are not for this`)
  }
  const isOfBody = (pathFlags & xattr) === 0
  if (isOfBody && (docFlags & SubdocDocFlag.createAsDeleted) !== 0) {
    return fault('what is created as deleted has no body')
  }
  return undefined
}

/** What an attribute of the system asks for. What becomes the body, or is told, is read. */
function privilegesFor({ operation: { isMutation, answersValue, pathFlagsNeeded } }: Part): number {
  if (!isMutation) return Privilege.systemRead
  const reads = answersValue || pathFlagsNeeded !== 0
  return Privilege.systemWrite | (reads ? Privilege.systemRead : Privilege.none)
}

function xattrFault(session: Session, part: Part): Fault | undefined {
  const { operation, pathFlags, path, value } = part
  const expands = (pathFlags & expandMacros) !== 0
  const isBinary = (pathFlags & binaryValue) !== 0
  if ((pathFlags & xattr) === 0) {
    if (!expands && !isBinary) return undefined
    const context = 'macros and binary values are for attributes'
    return fault(context, Status.subdocXattrInvalidFlagCombination)
  }
  if (expands && isBinary) {
    const context = 'a binary value is no macro'
    return fault(context, Status.subdocXattrInvalidFlagCombination)
  }
  if (!session.features.xattr) return fault('attributes were not negotiated', Status.notSupported)
  if (xattrKeyLength(path) < 0) return fault('no key of an attribute', Status.xattrInvalid)
  if (operation.isMutation && isVirtualXattr(path)) {
    const context = 'virtual attributes cannot be changed'
    return fault(context, Status.subdocXattrCannotModifyVirtualAttribute)
  }
  if (isSystemXattr(path) && (privilegesFor(part) & ~session.privileges) !== 0) {
    return fault('your roles do not include attributes of the system', Status.accessDenied)
  }
  if (hasBadBinaryValue(value)) return fault('malformed Base64', Status.xattrInvalid)
  if (expands && !isMacro(value)) return fault('no such macro', Status.subdocXattrUnknownMacro)
  return undefined
}
