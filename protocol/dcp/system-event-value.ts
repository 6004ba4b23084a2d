import { readUint32, readUint64, writeUint32, writeUint64 } from '../bytes.ts'
import { SystemEventId, type SystemEvent } from './system-event.ts'

/**
 * Values of system events, big-endian. The key of an event that something was made is its name;
 * events that something was dropped have none.
 *
 * ```
 * collection created, version 0 | manifest uid u64 | scope id u32 | collection id u32 |
 *                     version 1 | the same         | greatest expiry in seconds u32 |
 * collection dropped, version 0 | manifest uid u64 | scope id u32 | collection id u32 |
 * scope created, dropped,     0 | manifest uid u64 | scope id u32 |
 * ```
 *
 * A manifest uid is that of the manifest which the vbucket has completely come to with the event:
 * when a change of the manifest makes several events, only the last has the new one.
 */
export interface ScopeEvent {
  manifestUid: bigint
  scopeId: number
}

export interface CollectionEvent extends ScopeEvent {
  collectionId: number
  /** Seconds; `undefined` unless the collection limits the expiry of its documents. */
  maxTtlSeconds: number | undefined
}

const scopeEventLength = 12
const collectionEventLength = 16
const limitedCollectionEventLength = 20

export function encodeScopeEvent({ manifestUid, scopeId }: ScopeEvent): Buffer {
  const value = Buffer.alloc(scopeEventLength)
  writeUint64(value, 0, manifestUid)
  writeUint32(value, 8, scopeId)
  return value
}

export function encodeCollectionEvent(event: CollectionEvent): Buffer {
  const { collectionId, maxTtlSeconds } = event
  const id = Buffer.alloc(maxTtlSeconds === undefined ? 4 : 8)
  writeUint32(id, 0, collectionId)
  if (maxTtlSeconds !== undefined) writeUint32(id, 4, maxTtlSeconds)
  return Buffer.concat([encodeScopeEvent(event), id])
}

/** The version that says how the value of a collection's event is to be read. */
export function collectionEventVersion({ maxTtlSeconds }: CollectionEvent): number {
  return maxTtlSeconds === undefined ? 0 : 1
}

const collectionEvents: readonly number[] = [
  SystemEventId.collectionCreated,
  SystemEventId.collectionDropped,
]
const scopeEvents: readonly number[] = [SystemEventId.scopeCreated, SystemEventId.scopeDropped]

/** `undefined` for other events, for versions unknown here, and for values of another length. */
export function decodeCollectionEvent(event: SystemEvent): CollectionEvent | undefined {
  const { value, version } = event
  const isLimited = version === 1 && event.event === SystemEventId.collectionCreated
  const length = isLimited ? limitedCollectionEventLength : collectionEventLength
  if (!collectionEvents.includes(event.event) || (version !== 0 && !isLimited)) return undefined
  if (value.length !== length) return undefined
  return {
    manifestUid: readUint64(value, 0),
    scopeId: readUint32(value, 8),
    collectionId: readUint32(value, 12),
    maxTtlSeconds: isLimited ? readUint32(value, 16) : undefined,
  }
}

export function decodeScopeEvent(event: SystemEvent): ScopeEvent | undefined {
  const { value, version } = event
  if (!scopeEvents.includes(event.event) || version !== 0) return undefined
  if (value.length !== scopeEventLength) return undefined
  return { manifestUid: readUint64(value, 0), scopeId: readUint32(value, 8) }
}
