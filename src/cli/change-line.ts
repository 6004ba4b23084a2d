import { isUtf8 } from 'node:buffer'
import type { Change, CollectionEvent, ScopeEvent } from '../client/index.ts'

export interface ChangeLineOptions {
  readonly keysOnly?: boolean
  /** Say in which collection it is: `"collection":"shop.orders","collectionId":"8"`. */
  readonly namesCollections?: boolean
}

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
export function changeLine(
  change: Change,
  { keysOnly = false, namesCollections = false }: ChangeLineOptions = {},
): string {
  const { type, vbid, seqno, revno, flags, expiry, deleteTime } = change
  const fields = {
    type,
    vbid,
    seqno,
    revno,
    cas: String(change.cas),
    ...(type === 'mutation' ? { flags, expiry } : {}),
    ...(deleteTime === undefined ? {} : { deleteTime }),
    ...(namesCollections ? collectionFields(change) : {}),
    ...keyFields(change.key),
  }
  const line = JSON.stringify(fields)
  if (keysOnly || type !== 'mutation') return `${line}\n`
  return `${line.slice(0, -1)},${valueFields(change.value)}}\n`
}

/** Ids are hexadecimal, as in manifests. */
function collectionFields({ collection, collectionId }: Change) {
  return { collection, collectionId: collectionId.toString(16) }
}

/** A collection or scope was made or dropped; ids and the manifest's uid are hexadecimal. */
export function systemEventLine(event: CollectionEvent | ScopeEvent): string {
  const { type, vbid, seqno, scopeId } = event
  const manifestUid = event.manifestUid.toString(16)
  const scope = { scopeId: scopeId.toString(16) }
  const about =
    'collectionId' in event
      ? {
          collection: event.collection,
          collectionId: event.collectionId.toString(16),
          ...scope,
          maxTTL: event.maxTtlSeconds,
        }
      : { scope: event.scope, ...scope }
  return `${JSON.stringify({ type, vbid, seqno, manifestUid, ...about })}\n`
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
