/** The bytes that JSON is made of, and which of them may follow each other. */
export const quote = 0x22
export const backslash = 0x5c
export const comma = 0x2c
export const colon = 0x3a
export const openBrace = 0x7b
export const closeBrace = 0x7d
export const openBracket = 0x5b
export const closeBracket = 0x5d
export const minus = 0x2d

/** Of a text that is known to be JSON: outside of strings nothing else is as small. */
export function isSpace(byte: number): boolean {
  return byte <= 0x20
}

/** The position of the next byte that means something, in a text that is known to be JSON. */
export function skipSpace(bytes: Uint8Array, at: number, end: number): number {
  while (at < end && bytes[at]! <= 0x20) at++
  return at
}

export function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}
