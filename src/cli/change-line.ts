import { isUtf8 } from 'node:buffer'
import type { Change } from '../client/index.ts'

/**
 * A change as one line of JSON:
 *
 * ```
 * {"type":"mutation","vbid":12,"seqno":3,"revno":1,"cas":"1763…","flags":0,"expiry":0,
 *  "key":"greeting","value":{"hello":"world"}}
 * ```
 *
 * A value that is JSON stands there as it is, to the last digit of its numbers. Any other is a
 * string, and `encoding` says which kind: `utf8` or `base64`. A key that is no UTF-8 is base64, with
 * `keyEncoding` saying so. The CAS is a string, as it is beyond what JSON's readers keep exact.
 */
export function changeLine(change: Change, keysOnly: boolean): string {
  const { type, vbid, seqno, revno, flags, expiry, deleteTime } = change
  const fields = {
    type,
    vbid,
    seqno,
    revno,
    cas: String(change.cas),
    ...(type === 'mutation' ? { flags, expiry } : {}),
    ...(deleteTime === undefined ? {} : { deleteTime }),
    ...keyFields(change.key),
  }
  const line = JSON.stringify(fields)
  if (keysOnly || type !== 'mutation') return `${line}\n`
  return `${line.slice(0, -1)},${valueFields(change.value)}}\n`
}

export function keyFields(key: Buffer): { key: string; keyEncoding?: 'base64' } {
  if (isUtf8(key)) return { key: key.toString() }
  return { key: key.toString('base64'), keyEncoding: 'base64' }
}

/** `"value":…`, and how it is encoded. */
export function valueFields(value: Buffer): string {
  if (!isUtf8(value)) return `"value":"${value.toString('base64')}","encoding":"base64"`
  const text = value.toString()
  if (isJson(text)) {
    // Within JSON a line end can only be between tokens, where it means nothing.
    return `"value":${text.trim().replace(/[\r\n]+/g, ' ')}`
  }
  return `"value":${JSON.stringify(text)},"encoding":"utf8"`
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** Everything of the vbucket after `seqno` that was printed before is void. */
export function rollbackLine(vbid: number, seqno: number): string {
  return `${JSON.stringify({ type: 'rollback', vbid, seqno })}\n`
}
