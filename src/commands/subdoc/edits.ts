/**
 * What can be done at a path of a document that is known to be JSON: each edit returns the new
 * document, in which all bytes that it is not about are what they were.
 */
import { Status } from '../../../protocol/status.ts'
import {
  closeBracket,
  comma,
  isSpace,
  openBrace,
  openBracket,
  skipSpace,
} from '../../vbucket/json-bytes.ts'
import { count, parseDelta } from './counter.ts'
import type { Fragment } from './fragment.ts'
import { eachElement, isContainer, JsonSearch } from './json-search.ts'
import { outcomeStatus } from './lookups.ts'
import { lastIndex, levelsMax, parsePath, type Path } from './path.ts'

export interface Edited {
  text: Buffer
  /** What the client is told: the number that a counter has now. */
  value?: Buffer
}

/** Makes the edit, or says why not; with `makesParents`, objects on the way may be missing. */
export type Edit = (
  text: Buffer,
  path: Buffer,
  fragment: Fragment,
  makesParents: boolean,
) => Edited | Status

const search = new JsonSearch()
const nothing = Buffer.alloc(0)
const separator = Buffer.of(comma)

function spliced(text: Buffer, from: number, to: number, ...pieces: readonly Buffer[]): Buffer {
  return Buffer.concat([text.subarray(0, from), ...pieces, text.subarray(to)])
}

/** Why the fragment cannot be one value below `levelsAbove` levels; success if it can. */
function checkValue(fragment: Fragment, levelsAbove: number): Status {
  if (fragment.count !== 1) return Status.subdocValueCannotInsert
  return checkElements(fragment, levelsAbove)
}

/** The same for any number of values. */
function checkElements(fragment: Fragment, levelsAbove: number): Status {
  if (fragment.count === 0) return Status.subdocValueCannotInsert
  return levelsAbove + fragment.levels > levelsMax ? Status.subdocValueTooDeep : Status.success
}

/** `upsert` stores in any case, `add` only what is not there, `replace` only what is. */
function storing(mode: 'upsert' | 'add' | 'replace'): Edit {
  return (text, pathText, fragment, makesParents) => {
    const path = parsePath(pathText)
    if (typeof path === 'number') return path
    if (path.length === 0) return Status.subdocValueCannotInsert
    const refusal = checkValue(fragment, path.length)
    if (refusal !== Status.success) return refusal
    const outcome = search.find(text, path)
    if (outcome === 'mismatch' || outcome === 'tooDeep') return outcomeStatus[outcome]
    if (mode !== 'replace' && path.at(-1)!.name === undefined) return Status.subdocPathInvalid
    if (outcome === 'found') {
      if (mode === 'add') return Status.subdocPathExists
      return { text: spliced(text, search.start, search.end, fragment.bytes) }
    }
    if (mode === 'replace') return Status.subdocPathNotFound
    return insertMember(text, path, fragment.bytes, makesParents)
  }
}

export const dictUpsert = storing('upsert')
export const dictAdd = storing('add')
export const replace = storing('replace')

/** The search has missed: puts the value into the innermost object there is, at its end. */
function insertMember(
  text: Buffer,
  path: Path,
  value: Buffer,
  makesParents: boolean,
): Edited | Status {
  const missing = path.slice(search.matched)
  if (missing.length > 1 && !makesParents) return Status.subdocPathNotFound
  if (missing.some(({ name }) => name === undefined)) return Status.subdocPathNotFound
  const names = missing.map(({ name }) => name!.toString()).join('":{"')
  const member = [Buffer.from(`"${names}":`), value, Buffer.from('}'.repeat(missing.length - 1))]
  return { text: insertedLast(text, member) }
}

/** With the pieces as the last element of the container in which the search ended. */
function insertedLast(text: Buffer, pieces: readonly Buffer[]): Buffer {
  const at = search.containerEnd - 1
  const first = search.elements > 0 ? separator : nothing
  return spliced(text, at, at, first, ...pieces)
}

export const remove: Edit = (text, pathText) => {
  const path = parsePath(pathText)
  if (typeof path === 'number') return path
  if (path.length === 0) return Status.subdocValueCannotInsert
  const outcome = search.find(text, path)
  if (outcome !== 'found') return outcomeStatus[outcome]
  const behind = skipSpace(text, search.end, text.length)
  // The comma behind it goes with it; if it is the last, the one in front, if there is one.
  if (text[behind] === comma) return { text: spliced(text, search.memberStart, behind + 1) }
  let before = search.memberStart - 1
  while (isSpace(text[before]!)) before--
  const from = text[before] === comma ? before : search.memberStart
  return { text: spliced(text, from, search.end) }
}

/** The path is that of the array. */
function pushing(where: 'first' | 'last'): Edit {
  return (text, pathText, fragment, makesParents) => {
    const path = parsePath(pathText)
    if (typeof path === 'number') return path
    const refusal = checkElements(fragment, path.length + 1)
    if (refusal !== Status.success) return refusal
    return push(text, path, fragment.bytes, makesParents, where)
  }
}

export const arrayPushFirst = pushing('first')
export const arrayPushLast = pushing('last')

function push(
  text: Buffer,
  path: Path,
  values: Buffer,
  makesParents: boolean,
  where: 'first' | 'last',
): Edited | Status {
  const outcome = search.find(text, path)
  if (outcome === 'missing' && makesParents) {
    return insertMember(text, path, asArray(values), makesParents)
  }
  if (outcome !== 'found') return outcomeStatus[outcome]
  if (text[search.start] !== openBracket) return Status.subdocPathMismatch
  const first = skipSpace(text, search.start + 1, text.length)
  if (first === search.end - 1) return { text: spliced(text, first, first, values) }
  if (where === 'first') return { text: spliced(text, first, first, values, separator) }
  const last = search.end - 1
  return { text: spliced(text, last, last, separator, values) }
}

function asArray(values: Buffer): Buffer {
  return Buffer.concat([Buffer.of(openBracket), values, Buffer.of(closeBracket)])
}

/** The path is that of the element which the new ones are put in front of. */
export const arrayInsert: Edit = (text, pathText, fragment) => {
  const path = parsePath(pathText)
  if (typeof path === 'number') return path
  const refusal = checkElements(fragment, path.length)
  if (refusal !== Status.success) return refusal
  const last = path.at(-1)
  if (last === undefined || last.name !== undefined || last.index === lastIndex) {
    return Status.subdocPathInvalid
  }
  const outcome = search.find(text, path)
  if (outcome === 'found') {
    const { start } = search
    return { text: spliced(text, start, start, fragment.bytes, separator) }
  }
  const isEnd = search.matched === path.length - 1 && search.elements === last.index
  if (outcome === 'missing' && isEnd) return { text: insertedLast(text, [fragment.bytes]) }
  return outcomeStatus[outcome]
}

/** Values are compared as they are written: 1 is not 1.0. */
export const arrayAddUnique: Edit = (text, pathText, fragment, makesParents) => {
  const path = parsePath(pathText)
  if (typeof path === 'number') return path
  const refusal = checkValue(fragment, path.length + 1)
  if (refusal !== Status.success) return refusal
  if (fragment.hasContainers) return Status.subdocValueCannotInsert
  const found = search.find(text, path) === 'found' && text[search.start] === openBracket
  const obstacle = found ? obstacleTo(text, search.start, fragment.bytes) : Status.success
  if (obstacle !== Status.success) return obstacle
  return push(text, path, fragment.bytes, makesParents, 'last')
}

function obstacleTo(text: Buffer, arrayStart: number, value: Buffer): Status {
  const start = skipSpace(value, 0, value.length)
  let end = value.length
  while (isSpace(value[end - 1]!)) end--
  let obstacle: Status = Status.success
  eachElement(text, arrayStart, (elementStart, elementEnd) => {
    if (isContainer(text[elementStart])) obstacle = Status.subdocPathMismatch
    else if (text.compare(value, start, end, elementStart, elementEnd) === 0) {
      obstacle = Status.subdocPathExists
    }
    return obstacle === Status.success
  })
  return obstacle
}

export const counter: Edit = (text, pathText, fragment, makesParents) => {
  const path = parsePath(pathText)
  if (typeof path === 'number') return path
  const delta = parseDelta(fragment.bytes)
  if (delta === undefined) return Status.subdocDeltaInvalid
  const outcome = search.find(text, path)
  if (outcome === 'found') {
    const { start, end } = search
    const value = count(text.subarray(start, end), delta)
    return typeof value === 'number' ? value : { text: spliced(text, start, end, value), value }
  }
  if (outcome !== 'missing') return outcomeStatus[outcome]
  // A counter begins at 0, but no element of an array comes into being that way.
  const isInObject = text[search.containerStart] === openBrace
  if (!isInObject) return Status.subdocPathNotFound
  if (path.at(-1)!.name === undefined) return Status.subdocPathInvalid
  const value = Buffer.from(delta.toString())
  const edited = insertMember(text, path, value, makesParents)
  return typeof edited === 'number' ? edited : { ...edited, value }
}
