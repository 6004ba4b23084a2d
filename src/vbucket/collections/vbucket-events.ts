/**
 * Brings a vbucket to a manifest: appends the system events that it lacks, in the order that
 * clients rely on. Collections are dropped first, then scopes are made, then collections; scopes
 * are dropped last, behind what was in them. Only the last event tells the manifest's uid.
 */
import { SystemEventId } from '../../../protocol/dcp/system-event.ts'
import {
  collectionEventVersion,
  encodeCollectionEvent,
  encodeScopeEvent,
} from '../../../protocol/dcp/system-event-value.ts'
import { RecordKind } from '../../storage/record.ts'
import {
  encodeSystemEventContent,
  systemEventKey,
  type EventSubject,
} from '../../storage/system-event-record.ts'
import type { DocumentWriter } from '../document-writer.ts'
import type { Vbucket } from '../vbucket.ts'
import { defaultScope, type Manifest } from './manifest.ts'

/** An event to append; `append` is given the manifest uid that it tells. */
interface DueEvent {
  append(manifestUid: bigint): void
}

export interface EventContext {
  writer: DocumentWriter
  nowSeconds: number
}

/** Returns the ids of the collections that were dropped. */
export function bringTo(vbucket: Vbucket, manifest: Manifest, context: EventContext): number[] {
  const { collections: known } = vbucket
  const dropped = [...known.named.keys(), ...(known.hasDefault ? [0] : [])].filter(
    id => manifest.collection(id) === undefined,
  )
  const due: DueEvent[] = [
    ...dropped.map(id => collectionDropped(vbucket, id, context)),
    ...manifest.scopes
      .filter(({ id }) => !known.scopes.has(id))
      .map(({ id, name }) => scopeCreated(vbucket, id, name, context)),
    ...[...manifest.collections.values()]
      .filter(({ id }) => !known.has(id))
      .map(({ id, name, scope, maxTtlSeconds }) =>
        collectionCreated(vbucket, { id, name, scopeId: scope.id, maxTtlSeconds }, context),
      ),
    ...[...known.scopes]
      .filter(id => manifest.scope(id) === undefined)
      .map(id => scopeDropped(vbucket, id, context)),
  ]
  for (const [index, event] of due.entries()) {
    event.append(index === due.length - 1 ? manifest.uid : known.manifestUid)
  }
  if (due.length > 0) known.manifestUid = manifest.uid
  return dropped
}

function collectionCreated(
  vbucket: Vbucket,
  created: { id: number; name: string; scopeId: number; maxTtlSeconds: number },
  context: EventContext,
): DueEvent {
  const { id: collectionId, name, scopeId } = created
  const maxTtlSeconds = created.maxTtlSeconds || undefined
  return {
    append(manifestUid) {
      const event = { manifestUid, scopeId, collectionId, maxTtlSeconds }
      const version = collectionEventVersion(event)
      const value = encodeCollectionEvent(event)
      const content = { event: SystemEventId.collectionCreated, version, name, value }
      append(vbucket, 'collection', collectionId, content, context)
      vbucket.collections.created(collectionId, scopeId)
    },
  }
}

function collectionDropped(vbucket: Vbucket, id: number, context: EventContext): DueEvent {
  const scopeId = vbucket.collections.named.get(id)?.scopeId ?? defaultScope
  return {
    append(manifestUid) {
      const event = { manifestUid, scopeId, collectionId: id, maxTtlSeconds: undefined }
      const value = encodeCollectionEvent(event)
      const content = { event: SystemEventId.collectionDropped, version: 0, name: '', value }
      append(vbucket, 'collection', id, content, context)
      context.writer.release(vbucket.collectionDropped(id))
    },
  }
}

function scopeCreated(vbucket: Vbucket, id: number, name: string, context: EventContext): DueEvent {
  return {
    append(manifestUid) {
      const value = encodeScopeEvent({ manifestUid, scopeId: id })
      const content = { event: SystemEventId.scopeCreated, version: 0, name, value }
      append(vbucket, 'scope', id, content, context)
      vbucket.collections.scopeCreated(id)
    },
  }
}

function scopeDropped(vbucket: Vbucket, id: number, context: EventContext): DueEvent {
  return {
    append(manifestUid) {
      const value = encodeScopeEvent({ manifestUid, scopeId: id })
      const content = { event: SystemEventId.scopeDropped, version: 0, name: '', value }
      append(vbucket, 'scope', id, content, context)
      vbucket.collections.scopeDropped(id)
    },
  }
}

function append(
  vbucket: Vbucket,
  subject: EventSubject,
  id: number,
  content: Parameters<typeof encodeSystemEventContent>[0],
  { writer, nowSeconds }: EventContext,
): void {
  const isDrop = content.name === ''
  const kind = isDrop ? RecordKind.deletion : RecordKind.mutation
  const key = systemEventKey(subject, id)
  writer.appendEvent(vbucket, { kind, key, value: encodeSystemEventContent(content), nowSeconds })
}
