/**
 * Bytes in attributes, which hold JSON only: a string with a prefix of its own in front of Base64.
 * Clients that do not ask for bytes see that string.
 */
const prefix = 'cb-content-base64-encoded:'
const prefixBytes = Buffer.from(prefix)
const quote = 0x22

export function encodeBinaryValue(bytes: Buffer): Buffer {
  return Buffer.from(`"${prefix}${bytes.toString('base64')}"`)
}

/** The bytes that a JSON value stands for; undefined if it is no such string. */
export function decodeBinaryValue(json: Buffer): Buffer | undefined {
  if (json[0] !== quote || json.indexOf(prefixBytes) !== 1) return undefined
  return decodeBase64(json.subarray(1 + prefix.length, -1))
}

/** Whether a value that a client brings claims to hold bytes and does not. */
export function hasBadBinaryValue(value: Buffer): boolean {
  for (let at = value.indexOf(prefixBytes); at >= 0; at = value.indexOf(prefixBytes, at)) {
    at += prefix.length
    const end = value.indexOf(quote, at)
    if (end < 0 || decodeBase64(value.subarray(at, end)) === undefined) return true
  }
  return false
}

function decodeBase64(text: Buffer): Buffer | undefined {
  const digits = text.toString('latin1')
  const isWhole = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(digits)
  return isWhole ? Buffer.from(digits, 'base64') : undefined
}
