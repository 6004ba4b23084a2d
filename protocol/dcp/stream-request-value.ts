/**
 * The JSON that the value of a stream request may hold. Ids are hexadecimal text without `0x`,
 * the purge seqno is decimal text, the stream id a number; unknown members are ignored.
 *
 * ```
 * {"uid":"b4","collections":["0","8a"],"sid":71,"purge_seqno":"81021"}
 * ```
 */
export interface StreamRequestValue {
  /** Of the collections manifest the client saw last. */
  manifestUid?: bigint
  collections?: number[]
  scope?: number
  streamId?: number
  /** The newest purge seqno the client was told: up to it nothing purged can be missing to it. */
  purgeSeqno?: number
}

/** An empty text is an empty value; `undefined` for anything malformed. */
export function decodeStreamRequestValue(text: string): StreamRequestValue | undefined {
  if (text === '') return {}
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return undefined
  const members = json as Readonly<Record<string, unknown>>
  const value: StreamRequestValue = {}
  for (const [name, decode] of Object.entries(decoders)) {
    if (!Object.hasOwn(members, name)) continue
    if (!decode(members[name], value)) return undefined
  }
  return value
}

export function encodeStreamRequestValue(value: StreamRequestValue): string {
  const { manifestUid, collections, scope, streamId, purgeSeqno } = value
  const json: Record<string, unknown> = {}
  if (manifestUid !== undefined) json['uid'] = manifestUid.toString(16)
  if (collections !== undefined) json['collections'] = collections.map(id => id.toString(16))
  if (scope !== undefined) json['scope'] = scope.toString(16)
  if (streamId !== undefined) json['sid'] = streamId
  if (purgeSeqno !== undefined) json['purge_seqno'] = String(purgeSeqno)
  return Object.keys(json).length === 0 ? '' : JSON.stringify(json)
}

type Decoder = (member: unknown, value: StreamRequestValue) => boolean

/** One row for each member known; each sets its part of the value or returns false. */
const decoders: Readonly<Record<string, Decoder>> = {
  uid(member, value) {
    if (typeof member !== 'string' || !/^[0-9a-f]{1,16}$/i.test(member)) return false
    value.manifestUid = BigInt(`0x${member}`)
    return true
  },
  collections(member, value) {
    if (!Array.isArray(member) || member.length === 0) return false
    const ids = member.map(hexadecimalId)
    if (!ids.every(id => id !== undefined)) return false
    value.collections = ids
    return true
  },
  scope(member, value) {
    const id = hexadecimalId(member)
    if (id === undefined) return false
    value.scope = id
    return true
  },
  sid(member, value) {
    if (!Number.isInteger(member)) return false
    const id = member as number
    if (id < 1 || id > 0xffff) return false
    value.streamId = id
    return true
  },
  purge_seqno(member, value) {
    if (typeof member !== 'string' || !/^[0-9]{1,20}$/.test(member)) return false
    value.purgeSeqno = Number(member)
    return true
  },
}

function hexadecimalId(member: unknown): number | undefined {
  if (typeof member !== 'string' || !/^[0-9a-f]{1,8}$/i.test(member)) return undefined
  return Number.parseInt(member, 16)
}
