/** Applies the parts of a mutation to a document, one after the other. */
import { SubdocPathFlag } from '../../../protocol/commands/index.ts'
import { Status } from '../../../protocol/status.ts'
import { decodeBinaryValue, encodeBinaryValue } from './binary-value.ts'
import { knownFragment, readFragment, type Fragment } from './fragment.ts'
import { getPath } from './lookups.ts'
import { expandMacro } from './macros.ts'
import type { WholeEdit } from './operations.ts'
import type { Part } from './request.ts'
import type { Workpiece } from './workpiece.ts'

export interface ApplicationOptions {
  /** Objects on the way to a place are made if they are missing, whatever the part says. */
  readonly makesParents: boolean
  /** The virtual attribute `$document`, for macros. */
  readonly documentText: () => Buffer
}

const nothing = Buffer.alloc(0)

/** What the client is told of the part, mostly nothing; or why it failed. */
export function applyPart(
  piece: Workpiece,
  part: Part,
  options: ApplicationOptions,
): Buffer | Status {
  const { operation, path, pathFlags } = part
  if (operation.edit === undefined) return wholeEdits[operation.whole as WholeEdit](piece, part)
  const isOfXattr = (pathFlags & SubdocPathFlag.xattr) !== 0
  if (!isOfXattr && !piece.bodyIsJson) return Status.subdocDocumentNotJson
  const fragment = fragmentOf(part, options)
  if (fragment === undefined) return Status.subdocXattrUnknownVirtualMacro
  const makesParents = options.makesParents || (pathFlags & SubdocPathFlag.makeParents) !== 0
  const text = isOfXattr ? piece.attributes : piece.body
  const edited = operation.edit(text, path, fragment, makesParents)
  if (typeof edited === 'number') return edited
  if (isOfXattr) piece.setAttributes(edited.text)
  else piece.setBody(edited.text, true)
  return edited.value ?? nothing
}

function fragmentOf({ pathFlags, value }: Part, options: ApplicationOptions): Fragment | undefined {
  if ((pathFlags & SubdocPathFlag.expandMacros) !== 0) {
    return expandMacro(value, options.documentText)
  }
  if ((pathFlags & SubdocPathFlag.binaryValue) !== 0) return knownFragment(encodeBinaryValue(value))
  return readFragment(value)
}

const wholeEdits: Record<WholeEdit, (piece: Workpiece, part: Part) => Buffer | Status> = {
  set(piece, { value }) {
    piece.setBody(value, false)
    return nothing
  },
  add(piece, { value }) {
    if (piece.body.length > 0) return Status.subdocPathExists
    piece.setBody(value, false)
    return nothing
  },
  delete(piece) {
    piece.setBody(nothing, false)
    return nothing
  },
  replaceWithXattr(piece, { path, pathFlags }) {
    const found = getPath(piece.attributes, path)
    if (typeof found === 'number') return found
    const isBinary = (pathFlags & SubdocPathFlag.binaryValue) !== 0
    const body = isBinary ? decodeBinaryValue(found) : found
    if (body === undefined) return Status.subdocFieldNotBinaryValue
    piece.setBody(body, !isBinary)
    return nothing
  },
}
