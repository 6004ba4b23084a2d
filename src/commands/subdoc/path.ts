/**
 * Paths into a document, such as ``people[0].`first.name`.tags[-1]``: names of members with dots
 * between them, indexes in brackets, -1 for the last element. What is between backticks is a name
 * whatever characters it has; two of them are one that is meant. Names are written as JSON has
 * them between quotes: with its escapes, but for `\u`.
 */
import { isUtf8 } from 'node:buffer'
import { Status } from '../../../protocol/status.ts'
import { backslash, closeBracket, isDigit, openBracket, quote } from '../../vbucket/json-bytes.ts'

/** A value may be this many levels below and including the document's root. */
export const levelsMax = 32
/** One level is the root's. */
const componentsMax = levelsMax - 1

export interface PathComponent {
  /** A member's name, as it is written between quotes in JSON; undefined for an index. */
  readonly name: Buffer | undefined
  /** The name that this means. */
  readonly plainName: Buffer
  /** -1: the last element. */
  readonly index: number
}

export type Path = readonly PathComponent[]

/** For the last element. */
export const lastIndex = -1

const dot = 0x2e
const backtick = 0x60
const nothing = Buffer.alloc(0)
/** What may stand behind a backslash. */
const escapes = '"/\\bfnrt'
/** No array has as many elements. */
const indexEnd = 2 ** 63

/** The path, or why it is none. */
export function parsePath(text: Buffer): Path | Status {
  if (!isUtf8(text)) return Status.subdocPathInvalid
  const path: PathComponent[] = []
  let at = 0
  while (at < text.length) {
    const isIndex = text[at] === openBracket
    const end = isIndex ? text.indexOf(closeBracket, at) : nameEnd(text, at)
    if (end < 0) return Status.subdocPathInvalid
    const component = isIndex
      ? parseIndex(text.subarray(at + 1, end))
      : parseName(text.subarray(at, end))
    if (component === undefined) return Status.subdocPathInvalid
    if (path.length === componentsMax) return Status.subdocPathTooBig
    path.push(component)
    at = isIndex ? end + 1 : end
    if (text[at] === dot) at++
    else if (at < text.length && text[at] !== openBracket) return Status.subdocPathInvalid
  }
  return path
}

/** Where the name that begins at `start` ends; -1 if it is none. */
function nameEnd(text: Buffer, start: number): number {
  let isQuoted = false
  let at = start
  for (; at < text.length; at++) {
    const byte = text[at]!
    if (byte === quote || byte < 0x20) return -1
    if (byte === backslash) {
      at++
      if (at === text.length || !escapes.includes(String.fromCharCode(text[at]!))) return -1
    } else if (byte === backtick) isQuoted = !isQuoted
    else if (!isQuoted) {
      if (byte === closeBracket) return -1
      if (byte === dot || byte === openBracket) return at
    }
  }
  return isQuoted ? -1 : at
}

function parseName(text: Buffer): PathComponent | undefined {
  const name = withoutBackticks(text)
  if (name.length === 0) return undefined
  const plainName = name.includes(backslash) ? Buffer.from(unescaped(name)) : name
  return { name, plainName, index: 0 }
}

function withoutBackticks(text: Buffer): Buffer {
  if (!text.includes(backtick)) return text
  const isEnclosed = text.length > 1 && text[0] === backtick && text.at(-1) === backtick
  const inner = (isEnclosed ? text.subarray(1, -1) : text).toString('latin1')
  return Buffer.from(inner.replaceAll(/`(`?)/g, '$1'), 'latin1')
}

/** What a name between quotes means. */
export function unescaped(name: Buffer): string {
  return JSON.parse(`"${name.toString()}"`) as string
}

function parseIndex(digits: Buffer): PathComponent | undefined {
  if (digits.toString('latin1') === '-1') return component(lastIndex)
  if (digits.length === 0 || !digits.every(isDigit)) return undefined
  const index = Number(digits.toString('latin1'))
  return index < indexEnd ? component(index) : undefined
}

function component(index: number): PathComponent {
  return { name: undefined, plainName: nothing, index }
}
