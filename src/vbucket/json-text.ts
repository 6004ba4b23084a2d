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

/** Where the scan is. -1: it has met what is not allowed there. */
let at = 0
/** All bytes of strings, or'ed: below 0x80 they are ASCII. */
let seen = 0
/** Levels of the value that was scanned last, itself included. */
let levels = 0
/** For each level, whether it is an object. */
const isObject = new Uint8Array(depthMax)

export function isJson(bytes: Uint8Array, start: number, length: number): boolean {
  const end = start + length
  at = start
  seen = 0
  skipSpace(bytes, end)
  if (at === end) return false
  scanValue(bytes, end)
  if (at < 0) return false
  skipSpace(bytes, end)
  return at === end && (seen < 0x80 || isUtf8(bytes.subarray(start, end)))
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
  at = 0
  seen = 0
  for (;;) {
    skipSpace(bytes, end)
    if (at === end) return undefined
    const first = bytes[at]
    scanValue(bytes, end)
    if (at < 0) return undefined
    list.count++
    list.levels = Math.max(list.levels, levels)
    list.hasContainers ||= first === openBrace || first === openBracket
    skipSpace(bytes, end)
    if (at === end) return seen < 0x80 || isUtf8(bytes) ? list : undefined
    if (bytes[at++] !== comma) return undefined
  }
}

/** A value with all that is in it. */
function scanValue(bytes: Uint8Array, end: number): void {
  let depth = 0
  levels = 0
  for (;;) {
    if (depth >= levels) levels = depth + 1
    const byte = bytes[at]!
    if (byte === openBrace || byte === openBracket) {
      if (depth === depthMax) return fail()
      isObject[depth++] = byte === openBrace ? 1 : 0
      at++
      skipSpace(bytes, end)
      if (at < end && bytes[at] === (byte === openBrace ? closeBrace : closeBracket)) {
        depth--
        at++
      } else {
        if (byte === openBrace) scanName(bytes, end)
        if (at < 0 || at >= end) return fail()
        continue
      }
    } else {
      scanScalar(bytes, end, byte)
      if (at < 0) return
    }
    // Behind a value: the ends of what it is in, then a comma and the next one.
    for (;;) {
      if (depth === 0) return
      skipSpace(bytes, end)
      if (at >= end) return fail()
      const inObject = isObject[depth - 1] === 1
      const next = bytes[at++]!
      if (next === comma) {
        skipSpace(bytes, end)
        if (inObject) scanName(bytes, end)
        if (at < 0 || at >= end) return fail()
        break
      }
      if (next !== (inObject ? closeBrace : closeBracket)) return fail()
      depth--
    }
  }
}

function scanScalar(bytes: Uint8Array, end: number, first: number): void {
  if (first === quote) scanString(bytes, end)
  else if (first === minus || isDigit(first)) scanNumber(bytes, end)
  else scanWord(bytes, end)
}

/** A member's name, the colon and the space around them. */
function scanName(bytes: Uint8Array, end: number): void {
  if (at >= end || bytes[at] !== quote) return fail()
  scanString(bytes, end)
  if (at < 0) return
  skipSpace(bytes, end)
  if (at >= end || bytes[at] !== colon) return fail()
  at++
  skipSpace(bytes, end)
}

/** From its first quote to behind its last. */
function scanString(bytes: Uint8Array, end: number): void {
  let position = at + 1
  let gathered = seen
  for (;;) {
    if (position >= end) return fail()
    const byte = bytes[position++]!
    if (byte === quote) break
    if (byte < 0x20) return fail()
    gathered |= byte
    if (byte !== backslash) continue
    const escape = position < end ? bytes[position++]! : 0
    if (escape === letterU) {
      for (let digits = 4; digits > 0; digits--) {
        if (position >= end || !isHexDigit(bytes[position++]!)) return fail()
      }
    } else if (!isEscape(escape)) return fail()
  }
  seen = gathered
  at = position
}

function scanNumber(bytes: Uint8Array, end: number): void {
  if (bytes[at] === minus) at++
  if (at < end && bytes[at] === zero) at++
  else if (!skipDigits(bytes, end)) return fail()
  if (at < end && bytes[at] === point) {
    at++
    if (!skipDigits(bytes, end)) return fail()
  }
  if (at < end && (bytes[at]! | lowerCase) === letterE) {
    at++
    if (at < end && (bytes[at] === plus || bytes[at] === minus)) at++
    if (!skipDigits(bytes, end)) return fail()
  }
}

function scanWord(bytes: Uint8Array, end: number): void {
  for (const word of words) {
    if (bytes[at] !== word[0]) continue
    if (at + word.length > end) break
    let same = 1
    while (same < word.length && bytes[at + same] === word[same]) same++
    if (same < word.length) break
    at += word.length
    return
  }
  fail()
}

function skipDigits(bytes: Uint8Array, end: number): boolean {
  const from = at
  while (at < end && isDigit(bytes[at]!)) at++
  return at > from
}

function skipSpace(bytes: Uint8Array, end: number): void {
  while (at < end) {
    const byte = bytes[at]!
    if (byte > 0x20 || (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09)) return
    at++
  }
}

function isDigit(byte: number): boolean {
  return byte >= zero && byte <= nine
}

function isHexDigit(byte: number): boolean {
  const lower = byte | lowerCase
  return isDigit(byte) || (lower >= 0x61 && lower <= 0x66)
}

/** `"` `\` `/` `b` `f` `n` `r` `t` */
function isEscape(byte: number): boolean {
  return (
    byte === quote ||
    byte === backslash ||
    byte === 0x2f ||
    'bfnrt'.includes(String.fromCharCode(byte))
  )
}

function fail(): void {
  at = -1
}
