/**
 * What sub-document commands do, said in plain JavaScript over a tree: a model for the engine that
 * works on bytes. Names and scalars are kept as they are written, so that a tree is a document.
 */
import { Status } from '../../../protocol/status.ts'

export interface Scalar {
  kind: 'scalar'
  text: string
}
export interface Member {
  /** As between quotes in JSON. */
  name: string
  value: Tree
}
export interface ObjectTree {
  kind: 'object'
  members: Member[]
}
export interface ArrayTree {
  kind: 'array'
  elements: Tree[]
}
export type Tree = Scalar | ObjectTree | ArrayTree

/** A name as it is meant, or an index; -1 is the last. */
export type Step = string | number

/** The document's text; `space` is called wherever there may be some. */
export function print(tree: Tree, space: () => string = () => ''): string {
  if (tree.kind === 'scalar') return space() + tree.text + space()
  const isObject = tree.kind === 'object'
  const parts = isObject
    ? tree.members.map(({ name, value }) => `${space()}"${name}"${space()}:${print(value, space)}`)
    : tree.elements.map(element => print(element, space))
  const inner = parts.length === 0 ? space() : parts.join(',')
  return space() + (isObject ? `{${inner}}` : `[${inner}]`) + space()
}

const plain = (name: string): string => JSON.parse(`"${name}"`) as string
const escaped = (step: string): string => JSON.stringify(step).slice(1, -1)

function mayHold(tree: Tree, step: Step | undefined): boolean {
  if (step === undefined) return true
  return tree.kind === (typeof step === 'string' ? 'object' : 'array')
}

interface Found {
  status: Status
  /** The deepest that is there on the way. */
  at: Tree
  parent: Tree | undefined
  /** Among the parent's members or elements. */
  position: number
  /** Steps that are not there. */
  rest: Step[]
}

function find(root: Tree, steps: readonly Step[]): Found {
  let at = root
  let parent: Tree | undefined
  let position = 0
  for (const [level, step] of steps.entries()) {
    const found = (status: Status) => ({ status, at, parent, position, rest: steps.slice(level) })
    if (!mayHold(at, step)) return found(Status.subdocPathMismatch)
    const children = at.kind === 'object' ? at.members.map(({ value }) => value) : elementsOf(at)
    const isNamed = (index: number) =>
      at.kind === 'object'
        ? plain(at.members[index]!.name) === step
        : index === (step === -1 ? children.length - 1 : step)
    const named = [...children.keys()].filter(isNamed)
    const index = named.find(child => mayHold(children[child]!, steps[level + 1]))
    if (named.length === 0) return found(Status.subdocPathNotFound)
    if (index === undefined) return found(Status.subdocPathMismatch)
    parent = at
    position = index
    at = children[index]!
  }
  return { status: Status.success, at, parent, position, rest: [] }
}

function elementsOf(tree: Tree): Tree[] {
  return tree.kind === 'array' ? tree.elements : []
}

function replaceIn({ parent, position }: Found, value: Tree): void {
  if (parent?.kind === 'object') parent.members[position]!.value = value
  else if (parent?.kind === 'array') parent.elements[position] = value
}

/** Puts the value where it is missing, with the objects on the way to it. */
function create({ at, rest }: Found, value: Tree, makesParents: boolean): Status {
  if (rest.length > 1 && !makesParents) return Status.subdocPathNotFound
  if (rest.some(step => typeof step === 'number')) return Status.subdocPathNotFound
  const [first, ...others] = rest as string[]
  const nested = others.reduceRight<Tree>(
    (inner, step) => ({ kind: 'object', members: [{ name: escaped(step), value: inner }] }),
    value,
  )
  if (at.kind === 'object') at.members.push({ name: escaped(first!), value: nested })
  return Status.success
}

/** What a client brings: parsed by whoever made it; undefined: no JSON. */
export interface Brought {
  text: string
  values: Tree[] | undefined
}

export type ModelEdit = (
  root: Tree,
  steps: readonly Step[],
  brought: Brought,
  makesParents: boolean,
) => Status

const { success, subdocPathInvalid, subdocValueCannotInsert, subdocPathMismatch } = Status

const storing =
  (mode: 'upsert' | 'add' | 'replace'): ModelEdit =>
  (root, steps, { values }, makesParents) => {
    if (steps.length === 0 || values?.length !== 1) return subdocValueCannotInsert
    const found = find(root, steps)
    if (found.status === subdocPathMismatch) return found.status
    if (mode !== 'replace' && typeof steps.at(-1) === 'number') return subdocPathInvalid
    if (found.status !== success) {
      return mode === 'replace' ? found.status : create(found, values[0]!, makesParents)
    }
    if (mode === 'add') return Status.subdocPathExists
    replaceIn(found, values[0]!)
    return success
  }

const pushing =
  (where: 'first' | 'last', isUnique = false): ModelEdit =>
  (root, steps, { values }, makesParents) => {
    if (values === undefined) return subdocValueCannotInsert
    if (isUnique && (values.length > 1 || values[0]!.kind !== 'scalar')) {
      return subdocValueCannotInsert
    }
    const found = find(root, steps)
    if (found.status === Status.subdocPathNotFound && makesParents) {
      return create(found, { kind: 'array', elements: values }, makesParents)
    }
    if (found.status !== success) return found.status
    if (found.at.kind !== 'array') return subdocPathMismatch
    const { elements } = found.at
    if (isUnique) {
      const text = print(values[0]!)
      for (const element of elements) {
        if (element.kind !== 'scalar') return subdocPathMismatch
        if (element.text === text) return Status.subdocPathExists
      }
    }
    elements.splice(where === 'first' ? 0 : elements.length, 0, ...values)
    return success
  }

const insert: ModelEdit = (root, steps, { values }) => {
  if (values === undefined) return subdocValueCannotInsert
  const index = steps.at(-1)
  if (typeof index !== 'number' || index === -1) return subdocPathInvalid
  const found = find(root, steps)
  if (found.status === success && found.parent?.kind === 'array') {
    found.parent.elements.splice(index, 0, ...values)
    return success
  }
  const { at, rest, status } = found
  if (status === subdocPathMismatch) return status
  if (rest.length > 1 || at.kind !== 'array' || at.elements.length !== index) return status
  at.elements.push(...values)
  return success
}

const remove: ModelEdit = (root, steps) => {
  if (steps.length === 0) return subdocValueCannotInsert
  const { status, parent, position } = find(root, steps)
  if (status !== success) return status
  if (parent?.kind === 'object') parent.members.splice(position, 1)
  else if (parent?.kind === 'array') parent.elements.splice(position, 1)
  return success
}

const int64Max = 2n ** 63n - 1n
const isInt64 = (number: bigint) => number <= int64Max && number >= -int64Max - 1n

const counter: ModelEdit = (root, steps, { text }, makesParents) => {
  const isNumber = /^-?[1-9]\d*$/.test(text)
  if (!isNumber || !isInt64(BigInt(text))) return Status.subdocDeltaInvalid
  const found = find(root, steps)
  const { status, at } = found
  if (status === subdocPathMismatch) return status
  if (status === success) {
    if (at.kind !== 'scalar' || !/^-?\d+$/.test(at.text)) return subdocPathMismatch
    if (!isInt64(BigInt(at.text))) return Status.subdocNumberOutOfRange
    const sum = BigInt(at.text) + BigInt(text)
    if (!isInt64(sum)) return subdocValueCannotInsert
    replaceIn(found, { kind: 'scalar', text: String(sum) })
    return success
  }
  if (at.kind !== 'object') return status
  if (typeof steps.at(-1) === 'number') return subdocPathInvalid
  return create(found, { kind: 'scalar', text }, makesParents)
}

/** Change the tree, unless the status is no success. */
export const modelEdits = {
  dictUpsert: storing('upsert'),
  dictAdd: storing('add'),
  replace: storing('replace'),
  remove,
  arrayPushFirst: pushing('first'),
  arrayPushLast: pushing('last'),
  arrayAddUnique: pushing('last', true),
  arrayInsert: insert,
  counter,
} satisfies Record<string, ModelEdit>

/** What is at a path, or why nothing is. */
export function modelGet(root: Tree, steps: readonly Step[]): Tree | Status {
  const { status, at } = find(root, steps)
  return status === success ? at : status
}
