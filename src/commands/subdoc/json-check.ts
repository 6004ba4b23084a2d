/**
 * Whether bytes are JSON as RFC 8259 has it, checked in place: nothing is parsed into objects, and
 * documents may be nested as deeply as they like.
 */
import { isUtf8 } from 'node:buffer'
import {
  backslash,
  closeBrace,
  closeBracket,
  colon,
  comma,
  isDigit,
  minus,
  openBrace,
  openBracket,
  quote,
  skipSpace,
} from './json-bytes.ts'

/** Which escapes may follow a backslash, `u` aside. */
const escapes = tableOf('"\\/bfnrt')
const hexDigits = tableOf('0123456789abcdefABCDEF')
const literals = ['true', 'false', 'null'].map(text => Buffer.from(text))

function tableOf(characters: string): Uint8Array {
  const table = new Uint8Array(256)
  for (const byte of Buffer.from(characters)) table[byte] = 1
  return table
}

/** One bit for each container that is open: set for an object. Grows with the deepest document. */
let kinds = new Uint32Array(32)

/** Whether one of the strings has bytes beyond ASCII. */
let beyondAscii = false
/** How many levels of values the last value had, itself included. */
let levels = 0

/** Whether the bytes are one JSON value. */
export function isJson(bytes: Buffer): boolean {
  beyondAscii = false
  const end = checkValue(bytes, 0, bytes.length)
  if (end < 0 || skipSpace(bytes, end, bytes.length) < bytes.length) return false
  return !beyondAscii || isUtf8(bytes)
}

export interface JsonList {
  /** How many values there are. */
  count: number
  /** Levels of the deepest one: 1 is a string, a number or an empty container. */
  levels: number
  /** Whether one of them is an object or an array. */
  hasContainers: boolean
}

/** One or more JSON values with commas between them; undefined if it is not that. */
export function checkList(bytes: Buffer): JsonList | undefined {
  beyondAscii = false
  const list = { count: 0, levels: 0, hasContainers: false }
  const { length } = bytes
  let at = 0
  for (;;) {
    const start = skipSpace(bytes, at, length)
    const end = checkValue(bytes, start, length)
    if (end < 0) return undefined
    list.count++
    list.levels = Math.max(list.levels, levels)
    list.hasContainers ||= bytes[start] === openBrace || bytes[start] === openBracket
    at = skipSpace(bytes, end, length)
    if (at === length) return !beyondAscii || isUtf8(bytes) ? list : undefined
    if (bytes[at] !== comma) return undefined
    at++
  }
}

/** The position behind the value, or -1. */
function checkValue(bytes: Buffer, start: number, end: number): number {
  let at = start
  let depth = 0
  levels = 0
  for (;;) {
    at = skipSpace(bytes, at, end)
    if (at >= end) return -1
    if (depth >= levels) levels = depth + 1
    const byte = bytes[at]!
    if (byte === openBrace || byte === openBracket) {
      const isObject = byte === openBrace
      at = skipSpace(bytes, at + 1, end)
      if (at >= end) return -1
      if (bytes[at] !== (isObject ? closeBrace : closeBracket)) {
        open(depth++, isObject)
        if (isObject) at = checkName(bytes, at, end)
        if (at < 0) return -1
        continue
      }
      at++
    } else at = byte === quote ? checkString(bytes, at, end) : checkScalar(bytes, at, end)
    // Behind a value: close what it was the last of, up to where another one follows.
    for (;;) {
      if (at < 0 || depth === 0) return at
      at = skipSpace(bytes, at, end)
      if (at >= end) return -1
      const isObject = isOpenObject(depth - 1)
      if (bytes[at] === comma) {
        at++
        if (isObject) at = checkName(bytes, skipSpace(bytes, at, end), end)
        if (at < 0) return -1
        break
      }
      if (bytes[at] !== (isObject ? closeBrace : closeBracket)) return -1
      depth--
      at++
    }
  }
}

function open(depth: number, isObject: boolean): void {
  const word = depth >>> 5
  if (word === kinds.length) {
    const grown = new Uint32Array(word * 2)
    grown.set(kinds)
    kinds = grown
  }
  const bit = 1 << (depth & 31)
  kinds[word] = isObject ? kinds[word]! | bit : kinds[word]! & ~bit
}

function isOpenObject(depth: number): boolean {
  return (kinds[depth >>> 5]! & (1 << (depth & 31))) !== 0
}

/** A member's name and its colon. */
function checkName(bytes: Buffer, at: number, end: number): number {
  if (at >= end || bytes[at] !== quote) return -1
  const behind = checkString(bytes, at, end)
  if (behind < 0) return -1
  const colonAt = skipSpace(bytes, behind, end)
  return colonAt < end && bytes[colonAt] === colon ? colonAt + 1 : -1
}

function checkString(bytes: Buffer, start: number, end: number): number {
  let at = start + 1
  let all = 0
  while (at < end) {
    const byte = bytes[at]!
    if (byte === quote) {
      if (all & 0x80) beyondAscii = true
      return at + 1
    }
    if (byte < 0x20) return -1
    all |= byte
    if (byte !== backslash) at++
    else {
      const length = escapeLength(bytes, at + 1, end)
      if (length === 0) return -1
      at += length
    }
  }
  return -1
}

/** Bytes of an escape, backslash included, when `at` is behind that; 0 if there is none. */
function escapeLength(bytes: Buffer, at: number, end: number): number {
  if (at >= end) return 0
  if (escapes[bytes[at]!] === 1) return 2
  if (bytes[at] !== 0x75 || end - at < 5) return 0
  for (let index = 1; index <= 4; index++) if (hexDigits[bytes[at + index]!] === 0) return 0
  return 6
}

function checkScalar(bytes: Buffer, at: number, end: number): number {
  const byte = bytes[at]!
  if (byte === minus || isDigit(byte)) return checkNumber(bytes, at, end)
  for (const literal of literals) {
    if (literal[0] !== byte) continue
    const behind = at + literal.length
    return behind <= end && bytes.compare(literal, 0, literal.length, at, behind) === 0
      ? behind
      : -1
  }
  return -1
}

function checkNumber(bytes: Buffer, start: number, end: number): number {
  let at = bytes[start] === minus ? start + 1 : start
  const isZero = at < end && bytes[at] === 0x30
  const whole = isZero ? at + 1 : skipDigits(bytes, at, end)
  if (whole === at) return -1
  at = whole
  if (at < end && bytes[at] === 0x2e) {
    const fraction = skipDigits(bytes, at + 1, end)
    if (fraction === at + 1) return -1
    at = fraction
  }
  if (at < end && (bytes[at]! | 0x20) === 0x65) {
    at++
    if (at < end && (bytes[at] === 0x2b || bytes[at] === minus)) at++
    const exponent = skipDigits(bytes, at, end)
    return exponent === at ? -1 : exponent
  }
  return at
}

function skipDigits(bytes: Buffer, at: number, end: number): number {
  while (at < end && isDigit(bytes[at])) at++
  return at
}
