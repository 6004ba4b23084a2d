import { decodeCollectionEvent, decodeScopeEvent } from '../../protocol/dcp/system-event-value.ts'
import { SystemEventId, type SystemEvent } from '../../protocol/dcp/system-event.ts'
import type { CollectionNames } from './collection-names.ts'

/**
 * A collection was made or dropped: at this point of each vbucket's order. What was in a dropped
 * one is gone with it; no deletions tell.
 */
export interface CollectionEvent {
  readonly type: 'collection-created' | 'collection-dropped'
  readonly vbid: number
  readonly seqno: number
  /** Of the manifest that the vbucket has wholly come to. */
  readonly manifestUid: bigint
  readonly scopeId: number
  readonly collectionId: number
  /** As `scope.collection`, if its name is known. */
  readonly collection: string | undefined
  /** The greatest expiry that its documents may be given, in seconds from then; 0: any. */
  readonly maxTtlSeconds: number
}

/** A scope was made or dropped; the collections in it have events of their own. */
export interface ScopeEvent {
  readonly type: 'scope-created' | 'scope-dropped'
  readonly vbid: number
  readonly seqno: number
  readonly manifestUid: bigint
  readonly scopeId: number
  /** Its name, if it is known. */
  readonly scope: string | undefined
}

const types: Readonly<Record<number, (CollectionEvent | ScopeEvent)['type'] | undefined>> = {
  [SystemEventId.collectionCreated]: 'collection-created',
  [SystemEventId.collectionDropped]: 'collection-dropped',
  [SystemEventId.scopeCreated]: 'scope-created',
  [SystemEventId.scopeDropped]: 'scope-dropped',
}

/** `undefined` for what is unknown here; `names` learn what the event tells. */
export function readSystemEvent(
  message: SystemEvent,
  names: CollectionNames,
): CollectionEvent | ScopeEvent | undefined {
  const { vbid, seqno } = message
  const type = types[message.event]
  const name = Buffer.from(message.key).toString()
  if (type === 'scope-created' || type === 'scope-dropped') {
    const event = decodeScopeEvent(message)
    if (event === undefined) return undefined
    if (type === 'scope-created') names.scopeCreated(event.scopeId, name)
    return { type, vbid, seqno, ...event, scope: names.scope(event.scopeId) }
  }
  const event = decodeCollectionEvent(message)
  if (type === undefined || event === undefined) return undefined
  const { collectionId, scopeId, manifestUid, maxTtlSeconds = 0 } = event
  if (type === 'collection-created') names.created(collectionId, scopeId, name)
  const collection = names.of(collectionId)
  return { type, vbid, seqno, manifestUid, scopeId, collectionId, collection, maxTtlSeconds }
}
