/**
 * Whether bytes are one JSON text (RFC 8259), without making anything of it: what a client says of
 * its values is not trusted. One pass with no recursion; most values that are no JSON are told by
 * their first byte.
 */
import { isUtf8 } from 'node:buffer'
import {
  backslash,
  closeBrace,
  closeBracket,
  colon,
  comma,
  minus,
  openBrace,
  openBracket,
  quote,
} from './json-bytes.ts'

const plus = 0x2b
const point = 0x2e
const zero = 0x30
const nine = 0x39
const letterU = 0x75
/** With this bit, `E` is `e`. */
const lowerCase = 0x20
const letterE = 0x65

/** What a text nests deeper than is not taken for JSON: nobody could work on it. */
const depthMax = 1024

const words = ['true', 'false', 'null'].map(word => Buffer.from(word))

/** All bytes of strings, or'ed: below 0x80 they are ASCII. */
let seen = 0
/** Levels of the value that was scanned last, itself included. */
let levels = 0
/** For each level, whether it is an object. */
const isObject = new Uint8Array(depthMax)

/**
 * What may stand in a string as it is: 1. The end of it, what begins an escape, and what is not
 * allowed: 0.
 */
const isPlain = new Uint8Array(256).fill(1, 0x20)
isPlain[quote] = 0
isPlain[backslash] = 0

export function isJson(bytes: Uint8Array, start: number, length: number): boolean {
  const end = start + length
  seen = 0
  const first = skipSpace(bytes, start, end)
  if (first === end) return false
  const after = scanValue(bytes, first, end)
  if (after < 0 || skipSpace(bytes, after, end) !== end) return false
  return seen < 0x80 || isUtf8(bytes.subarray(start, end))
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
export function scanList(bytes: Uint8Array): JsonList | undefined {
  const end = bytes.length
  const list = { count: 0, levels: 0, hasContainers: false }
  let at = 0
  seen = 0
  for (;;) {
    at = skipSpace(bytes, at, end)
    if (at === end) return undefined
    const first = bytes[at]
    at = scanValue(bytes, at, end)
    if (at < 0) return undefined
    list.count++
    list.levels = Math.max(list.levels, levels)
    list.hasContainers ||= first === openBrace || first === openBracket
    at = skipSpace(bytes, at, end)
    if (at === end) return seen < 0x80 || isUtf8(bytes) ? list : undefined
    if (bytes[at++] !== comma) return undefined
  }
}

// The functions below take where the scan is and return where it is then, or -1 when they have
// met what is not allowed: positions that are passed on cost less than one that is kept for all.

/** A value with all that is in it. */
function scanValue(bytes: Uint8Array, start: number, end: number): number {
  let at = start
  let depth = 0
  let deepest = 0
  for (;;) {
    if (depth >= deepest) deepest = depth + 1
    const byte = bytes[at]!
    if (byte === openBrace || byte === openBracket) {
      if (depth === depthMax) return -1
      const inObject = byte === openBrace
      isObject[depth++] = inObject ? 1 : 0
      at = skipSpace(bytes, at + 1, end)
      if (at < end && bytes[at] === (inObject ? closeBrace : closeBracket)) {
        depth--
        at++
      } else {
        if (inObject) at = scanName(bytes, at, end)
        if (at < 0 || at >= end) return -1
        continue
      }
    } else {
      at = scanScalar(bytes, at, end, byte)
      if (at < 0) return -1
    }
    // Behind a value: the ends of what it is in, then a comma and the next one.
    for (;;) {
      if (depth === 0) {
        levels = deepest
        return at
      }
      at = skipSpace(bytes, at, end)
      if (at >= end) return -1
      const inObject = isObject[depth - 1] === 1
      const next = bytes[at++]!
      if (next === comma) {
        at = skipSpace(bytes, at, end)
        if (inObject) at = scanName(bytes, at, end)
        if (at < 0 || at >= end) return -1
        break
      }
      if (next !== (inObject ? closeBrace : closeBracket)) return -1
      depth--
    }
  }
}

function scanScalar(bytes: Uint8Array, at: number, end: number, first: number): number {
  if (first === quote) return scanString(bytes, at, end)
  if (first === minus || isDigit(first)) return scanNumber(bytes, at, end)
  return scanWord(bytes, at, end)
}

/** A member's name, the colon and the space around them. */
function scanName(bytes: Uint8Array, start: number, end: number): number {
  if (start >= end || bytes[start] !== quote) return -1
  let at = scanString(bytes, start, end)
  if (at < 0) return -1
  at = skipSpace(bytes, at, end)
  if (at >= end || bytes[at] !== colon) return -1
  return skipSpace(bytes, at + 1, end)
}

/** From its first quote to behind its last. */
function scanString(bytes: Uint8Array, start: number, end: number): number {
  let at = start + 1
  let gathered = seen
  for (;;) {
    let byte = 0
    while (at < end && isPlain[(byte = bytes[at]!)] === 1) {
      gathered |= byte
      at++
    }
    if (at >= end) return -1
    at++
    if (byte === quote) break
    if (byte !== backslash || at >= end) return -1
    const escape = bytes[at++]!
    if (escape === letterU) {
      for (let digits = 4; digits > 0; digits--) {
        if (at >= end || !isHexDigit(bytes[at++]!)) return -1
      }
    } else if (!isEscape(escape)) return -1
  }
  seen = gathered
  return at
}

function scanNumber(bytes: Uint8Array, start: number, end: number): number {
  let at = bytes[start] === minus ? start + 1 : start
  if (at < end && bytes[at] === zero) at++
  else at = digitsEnd(bytes, at, end)
  if (at > 0 && at < end && bytes[at] === point) at = digitsEnd(bytes, at + 1, end)
  if (at > 0 && at < end && (bytes[at]! | lowerCase) === letterE) {
    at++
    if (at < end && (bytes[at] === plus || bytes[at] === minus)) at++
    at = digitsEnd(bytes, at, end)
  }
  return at
}

function scanWord(bytes: Uint8Array, at: number, end: number): number {
  for (const word of words) {
    if (bytes[at] !== word[0]) continue
    if (at + word.length > end) return -1
    for (let i = 1; i < word.length; i++) if (bytes[at + i] !== word[i]) return -1
    return at + word.length
  }
  return -1
}

/** Behind one digit or more. */
function digitsEnd(bytes: Uint8Array, start: number, end: number): number {
  let at = start
  while (at < end && isDigit(bytes[at]!)) at++
  return at > start ? at : -1
}

function skipSpace(bytes: Uint8Array, start: number, end: number): number {
  let at = start
  while (at < end) {
    const byte = bytes[at]!
    if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) break
    at++
  }
  return at
}

function isDigit(byte: number): boolean {
  return byte >= zero && byte <= nine
}

function isHexDigit(byte: number): boolean {
  const lower = byte | lowerCase
  return isDigit(byte) || (lower >= 0x61 && lower <= 0x66)
}

const escapes = new Set(Buffer.from('"\\/bfnrt'))

function isEscape(byte: number): boolean {
  return escapes.has(byte)
}
