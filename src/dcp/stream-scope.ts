/**
 * What a stream is of: a vbucket, the collections of it that are wanted, and, where several streams
 * of one vbucket share a connection, the stream's id.
 */
import { Status } from '../../protocol/status.ts'
import { defaultCollection } from '../storage/record-key.ts'
import type { CollectionFilter } from '../storage/record-filter.ts'
import type { Manifest } from '../vbucket/collections/manifest.ts'

export interface StreamScope {
  vbid: number
  /** 0: the only one of its vbucket. */
  streamId: number
  /** The client knows of collections: keys tell theirs, and system events come. */
  isAware: boolean
  /** Undefined: all. */
  collections: readonly number[] | undefined
  /** All that is in this scope, now and later. */
  scopeId: number | undefined
}

/** One number for a stream of a connection: the vbid, where there are no stream ids. */
export function slotOf({ vbid, streamId }: Pick<StreamScope, 'vbid' | 'streamId'>): number {
  return streamId * 0x1_0000 + vbid
}

/** Names who holds the purger back: streams with ids do so each for itself. */
export function holderOf(client: string, streamId: number): string {
  return streamId === 0 ? client : `${client} #${streamId}`
}

/** Whether all of it is there: a status refuses the stream. */
export function scopeStatus(scope: StreamScope, manifest: Manifest): Status {
  const { isAware, collections, scopeId } = scope
  if (scopeId !== undefined && manifest.scope(scopeId) === undefined) return Status.unknownScope
  const needed = isAware ? (collections ?? []) : [defaultCollection, ...(collections ?? [])]
  const isThere = needed.every(id => manifest.collection(id) !== undefined)
  return isThere ? Status.success : Status.unknownCollection
}

/** What of the vbucket passes; undefined: everything that the client can be told. */
export function filterOf(scope: StreamScope, manifest: Manifest): CollectionFilter | undefined {
  const { collections, scopeId, isAware } = scope
  if (!isAware) return undefined
  if (collections !== undefined) return { collections: [...collections], scopeId: undefined }
  if (scopeId === undefined) return undefined
  const found = manifest.scope(scopeId)?.collections ?? []
  return { collections: found.map(({ id }) => id), scopeId }
}

/**
 * Names what a stream is of, within a vbucket: a client goes on in a snapshot that was kept only
 * where it asks for the same again.
 */
export function scopeName(scope: StreamScope): string {
  const { streamId, isAware, collections, scopeId } = scope
  if (!isAware) return streamId === 0 ? '' : `${streamId}`
  // Nearly all streams are of this kind.
  if (collections === undefined && scopeId === undefined) return `[${streamId},null,null]`
  const ids = collections && [...collections].sort((one, other) => one - other)
  return JSON.stringify([streamId, ids ?? null, scopeId ?? null])
}
