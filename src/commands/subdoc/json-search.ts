/**
 * Finds a path in the bytes of a document that is known to be JSON. Values on the way are stepped
 * over, not read, and nothing behind the place that is looked for is touched.
 */
import {
  backslash,
  closeBrace,
  closeBracket,
  colon,
  comma,
  openBrace,
  openBracket,
  quote,
  skipSpace,
} from '../../vbucket/json-bytes.ts'
import { lastIndex, levelsMax, unescaped, type Path, type PathComponent } from './path.ts'

/**
 * `missing`: all but the rest of the path is there. `mismatch`: something on the way is no
 * container, or the other kind of it. `tooDeep`: something on the way is nested too deeply.
 */
export type Outcome = 'found' | 'missing' | 'mismatch' | 'tooDeep'

/** One search after the other; what was found is in its fields until the next. */
export class JsonSearch {
  outcome: Outcome = 'missing'
  /** How many components of the path are there. */
  matched = 0
  /** Of the value that was found. */
  start = 0
  end = 0
  /** Where its member begins: the quote of its name, or the value itself in an array. */
  memberStart = 0
  /** Of the innermost container that was looked into; its end only if the value is missing. */
  containerStart = 0
  containerEnd = 0
  /** How many elements the container has that lacks the one that was looked for. */
  elements = 0

  find(bytes: Buffer, path: Path): Outcome {
    this.outcome = this.#find(bytes, path)
    return this.outcome
  }

  #find(bytes: Buffer, path: Path): Outcome {
    this.start = this.memberStart = skipSpace(bytes, 0, bytes.length)
    this.matched = 0
    for (const [level, component] of path.entries()) {
      if (!opens(bytes[this.start]!, component)) return 'mismatch'
      this.containerStart = this.start
      // The root is level 1, what is in it level 2.
      const outcome = this.#findIn(bytes, component, path[level + 1], level + 2)
      if (outcome !== 'found') return outcome
      this.matched++
    }
    this.end = skipValue(bytes, this.start, path.length + 1)
    return this.end < 0 ? 'tooDeep' : 'found'
  }

  #findIn(
    bytes: Buffer,
    component: PathComponent,
    next: PathComponent | undefined,
    level: number,
  ): Outcome {
    this.elements = 0
    const first = skipSpace(bytes, this.start + 1, bytes.length)
    const isObject = component.name !== undefined
    if (bytes[first] === (isObject ? closeBrace : closeBracket)) {
      this.containerEnd = first + 1
      return 'missing'
    }
    return isObject
      ? this.#findMember(bytes, first, component, next, level)
      : this.#findElement(bytes, first, component, level)
  }

  /** Of members with the same name the first counts that the rest of the path could be in. */
  #findMember(
    bytes: Buffer,
    first: number,
    component: PathComponent,
    next: PathComponent | undefined,
    level: number,
  ): Outcome {
    let outcome: Outcome = 'missing'
    let at = first
    for (;;) {
      const nameEnd = skipString(bytes, at)
      const colonAt = skipSpace(bytes, nameEnd, bytes.length)
      const valueStart = skipSpace(bytes, colonAt + 1, bytes.length)
      if (isNamed(bytes, at + 1, nameEnd - 1, component)) {
        if (next === undefined || opens(bytes[valueStart]!, next)) {
          this.memberStart = at
          this.start = valueStart
          return 'found'
        }
        outcome = 'mismatch'
      }
      this.elements++
      const valueEnd = skipValue(bytes, valueStart, level)
      if (valueEnd < 0) return 'tooDeep'
      at = skipSpace(bytes, valueEnd, bytes.length)
      if (bytes[at] !== comma) break
      at = skipSpace(bytes, at + 1, bytes.length)
    }
    this.containerEnd = at + 1
    return outcome
  }

  #findElement(bytes: Buffer, first: number, component: PathComponent, level: number): Outcome {
    let at = first
    for (;;) {
      this.memberStart = this.start = at
      if (this.elements === component.index) return 'found'
      this.elements++
      const valueEnd = skipValue(bytes, at, level)
      if (valueEnd < 0) return 'tooDeep'
      at = skipSpace(bytes, valueEnd, bytes.length)
      if (bytes[at] !== comma) break
      at = skipSpace(bytes, at + 1, bytes.length)
    }
    this.containerEnd = at + 1
    return component.index === lastIndex ? 'found' : 'missing'
  }
}

/** Whether a value that begins with this byte is a container that could have the component. */
function opens(byte: number, component: PathComponent): boolean {
  return byte === (component.name === undefined ? openBracket : openBrace)
}

/** Whether the name between these quotes is the component's; `isEscaped` is about that name. */
function isNamed(bytes: Buffer, start: number, end: number, component: PathComponent): boolean {
  const { plainName } = component
  if (isEscaped) return unescaped(bytes.subarray(start, end)) === plainName.toString()
  if (end - start !== plainName.length) return false
  for (let at = start; at < end; at++) if (bytes[at] !== plainName[at - start]) return false
  return true
}

/** Whether the string that was stepped over last has escapes. */
let isEscaped = false

/** The position behind the string whose quote is at `start`. */
function skipString(bytes: Buffer, start: number): number {
  const { length } = bytes
  isEscaped = false
  for (let at = start + 1; at < length; at++) {
    const byte = bytes[at]!
    if (byte === quote) return at + 1
    if (byte !== backslash) continue
    isEscaped = true
    at++
  }
  return length
}

/**
 * The position behind the value at `start`, which is on `level` of the document; -1 if something in
 * it is below the last level that there may be.
 */
export function skipValue(bytes: Buffer, start: number, level: number): number {
  if (level > levelsMax) return -1
  const byte = bytes[start]!
  if (byte === quote) return skipString(bytes, start)
  return byte === openBrace || byte === openBracket
    ? skipContainer(bytes, start, level)
    : skipScalar(bytes, start)
}

/** What a byte outside of strings does: nothing, or one of the next. */
const opening = 1
const closing = 2
const quoting = 3
const space = 4
const separating = 5
const roles = new Uint8Array(256)
roles[openBrace] = roles[openBracket] = opening
roles[closeBrace] = roles[closeBracket] = closing
roles[quote] = quoting
roles[comma] = roles[colon] = separating
roles.fill(space, 0, 0x21)

function skipScalar(bytes: Buffer, start: number): number {
  const { length } = bytes
  let at = start
  while (at < length && roles[bytes[at]!] === 0) at++
  return at
}

function skipContainer(bytes: Buffer, start: number, level: number): number {
  const { length } = bytes
  let open = level
  let at = start + 1
  while (at < length) {
    const role = roles[bytes[at]!]
    if (role === closing) {
      at++
      if (open-- === level) return at
      continue
    }
    // On the last level containers are empty.
    if (open === levelsMax && role !== space) return -1
    if (role === quoting) {
      at = skipString(bytes, at)
      continue
    }
    if (role === opening) open++
    at++
  }
  return at
}

export type ElementVisitor = (
  start: number,
  end: number,
  nameStart: number,
  nameEnd: number,
) => boolean

/**
 * Visits the values in the container at `start`, in order, until the visitor returns false; of
 * members also with their names, quotes included. The container is not too deep.
 */
export function eachElement(bytes: Buffer, start: number, visit: ElementVisitor): void {
  const isObject = bytes[start] === openBrace
  const { length } = bytes
  let at = skipSpace(bytes, start + 1, length)
  if (bytes[at] === (isObject ? closeBrace : closeBracket)) return
  for (;;) {
    const nameStart = at
    const nameEnd = isObject ? skipString(bytes, at) : at
    if (isObject) at = skipSpace(bytes, skipSpace(bytes, nameEnd, length) + 1, length)
    const end = skipValue(bytes, at, 1)
    if (end < 0 || !visit(at, end, nameStart, nameEnd)) return
    at = skipSpace(bytes, end, length)
    if (bytes[at] !== comma) return
    at = skipSpace(bytes, at + 1, length)
  }
}

/** Whether the value that begins with this byte is an object or an array. */
export function isContainer(byte: number | undefined): boolean {
  return byte === openBrace || byte === openBracket
}
