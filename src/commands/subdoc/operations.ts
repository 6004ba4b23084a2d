/** What a sub-document request may ask for, one row for each opcode that it can name. */
import { SubdocDocFlag, SubdocPathFlag } from '../../../protocol/commands/index.ts'
import { Opcode } from '../../../protocol/opcode.ts'
import {
  arrayAddUnique,
  arrayInsert,
  arrayPushFirst,
  arrayPushLast,
  counter,
  dictAdd,
  dictUpsert,
  remove,
  replace,
  type Edit,
} from './edits.ts'
import { countAtPath, getPath, pathExists, type Lookup } from './lookups.ts'

/** What is done with the document as a whole; only in requests for several paths. */
export type WholeEdit = 'set' | 'add' | 'delete' | 'replaceWithXattr'

export interface OperationRow {
  readonly opcode: Opcode
  /** Of paths. */
  readonly lookup?: Lookup
  readonly edit?: Edit
  /** Of the whole document: `get` looks it up. */
  readonly whole?: 'get' | WholeEdit
  readonly takesValue?: true
  /** The root is meant by an empty path. */
  readonly takesRoot?: true
  /** The answer carries a value, not only a status. */
  readonly answersValue?: true
  /** Flags that may be set, and those that have to be. */
  readonly pathFlags: number
  readonly pathFlagsNeeded?: number
  readonly docFlags: number
}

const { makeParents, xattr, expandMacros, binaryValue } = SubdocPathFlag
const { makeDocument, add, accessDeleted, createAsDeleted, revive, replicaRead } = SubdocDocFlag

const lookup = { pathFlags: xattr, docFlags: accessDeleted | revive | replicaRead }
const existing = accessDeleted | revive
const making = {
  docFlags: existing | makeDocument | add | createAsDeleted,
  takesValue: true,
} as const
const storing = { ...making, pathFlags: makeParents | xattr | expandMacros | binaryValue }
const pushing = {
  ...making,
  pathFlags: makeParents | xattr | expandMacros,
  takesRoot: true,
} as const

const rows: readonly OperationRow[] = [
  {
    ...lookup,
    opcode: Opcode.subdocGet,
    lookup: getPath,
    pathFlags: xattr | binaryValue,
    answersValue: true,
  },
  { ...lookup, opcode: Opcode.subdocExists, lookup: pathExists },
  {
    ...lookup,
    opcode: Opcode.subdocGetCount,
    lookup: countAtPath,
    takesRoot: true,
    answersValue: true,
  },
  { ...storing, opcode: Opcode.subdocDictAdd, edit: dictAdd },
  { ...storing, opcode: Opcode.subdocDictUpsert, edit: dictUpsert },
  { opcode: Opcode.subdocDelete, edit: remove, pathFlags: xattr, docFlags: existing },
  {
    opcode: Opcode.subdocReplace,
    edit: replace,
    takesValue: true,
    pathFlags: xattr | expandMacros | binaryValue,
    docFlags: existing | add,
  },
  { ...pushing, opcode: Opcode.subdocArrayPushLast, edit: arrayPushLast },
  { ...pushing, opcode: Opcode.subdocArrayPushFirst, edit: arrayPushFirst },
  {
    opcode: Opcode.subdocArrayInsert,
    edit: arrayInsert,
    takesValue: true,
    pathFlags: xattr | expandMacros,
    docFlags: existing | add | createAsDeleted,
  },
  {
    ...making,
    opcode: Opcode.subdocArrayAddUnique,
    edit: arrayAddUnique,
    pathFlags: makeParents | xattr,
    takesRoot: true,
  },
  {
    ...making,
    opcode: Opcode.subdocCounter,
    edit: counter,
    pathFlags: makeParents | xattr,
    answersValue: true,
  },
  {
    opcode: Opcode.subdocReplaceBodyWithXattr,
    whole: 'replaceWithXattr',
    pathFlags: xattr | binaryValue,
    pathFlagsNeeded: xattr,
    docFlags: existing,
  },
  {
    ...lookup,
    opcode: Opcode.get,
    whole: 'get',
    pathFlags: 0,
    takesRoot: true,
    answersValue: true,
  },
  {
    opcode: Opcode.set,
    whole: 'set',
    takesValue: true,
    takesRoot: true,
    pathFlags: 0,
    docFlags: makeDocument | add,
  },
  {
    opcode: Opcode.add,
    whole: 'add',
    takesValue: true,
    takesRoot: true,
    pathFlags: 0,
    docFlags: makeDocument | add,
  },
  { opcode: Opcode.delete, whole: 'delete', takesRoot: true, pathFlags: 0, docFlags: existing },
]

/** A row in the form that requests are checked by: all of one shape. */
export class Operation {
  readonly opcode: Opcode
  readonly lookup: Lookup | undefined
  readonly edit: Edit | undefined
  readonly whole: OperationRow['whole']
  readonly isMutation: boolean
  readonly takesValue: boolean
  readonly takesRoot: boolean
  /** Works on the document's body as a whole, and hence has no path. */
  readonly isPathless: boolean
  readonly answersValue: boolean
  readonly pathFlags: number
  readonly pathFlagsNeeded: number
  readonly docFlags: number

  constructor(row: OperationRow) {
    this.opcode = row.opcode
    this.lookup = row.lookup
    this.edit = row.edit
    this.whole = row.whole
    this.isMutation = row.lookup === undefined && row.whole !== 'get'
    this.takesValue = row.takesValue === true
    this.takesRoot = row.takesRoot === true
    this.isPathless = row.whole !== undefined && row.whole !== 'replaceWithXattr'
    this.answersValue = row.answersValue === true
    this.pathFlags = row.pathFlags
    this.pathFlagsNeeded = row.pathFlagsNeeded ?? 0
    this.docFlags = row.docFlags
  }
}

const operations: ReadonlyMap<number, Operation> = new Map(
  rows.map(row => [row.opcode, new Operation(row)]),
)

export function operationOf(opcode: number): Operation | undefined {
  return operations.get(opcode)
}

/** Those that are commands of their own, for one path. */
export const pathOperations: readonly Operation[] = [...operations.values()].filter(
  operation => !operation.isPathless,
)
