/** Groups about collections, under the names that Couchbase's tools read. */
import { Status } from '../../protocol/status.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import type { Session } from './session.ts'
import type { AddStatistic } from './stat.ts'

/** What each collection of the bucket holds. */
export function collectionStatistics(session: Session, add: AddStatistic): Status {
  const { bucket } = session
  if (bucket === undefined) return Status.noBucket
  const { manifest } = bucket.collections
  add('manifest_uid', manifest.uidText)
  for (const { id, name, scope, maxTtlSeconds } of manifest.collections.values()) {
    const place = `${hex(scope.id)}:${hex(id)}`
    add(`${place}:name`, name)
    add(`${place}:scope_name`, scope.name)
    add(`${place}:items`, itemsOf(bucket, id))
    if (maxTtlSeconds > 0) add(`${place}:maxTTL`, maxTtlSeconds)
  }
  return Status.success
}

/** Which collections the scopes have, and what these hold together. */
export function scopeStatistics(session: Session, add: AddStatistic): Status {
  const { bucket } = session
  if (bucket === undefined) return Status.noBucket
  const { manifest } = bucket.collections
  add('manifest_uid', manifest.uidText)
  for (const { id, name, collections } of manifest.scopes) {
    add(`${hex(id)}:name`, name)
    add(`${hex(id)}:collections`, collections.length)
    add(
      `${hex(id)}:items`,
      collections.reduce((items, collection) => items + itemsOf(bucket, collection.id), 0),
    )
    for (const collection of collections) {
      add(`${hex(id)}:${hex(collection.id)}:name`, collection.name)
    }
  }
  return Status.success
}

/** The same of each vbucket, with how far a collection has come in it. */
export function collectionDetails(session: Session, add: AddStatistic): Status {
  const { bucket } = session
  if (bucket === undefined) return Status.noBucket
  for (const vbucket of bucket.vbuckets()) {
    const { collections } = vbucket
    const prefix = `vb_${vbucket.id}`
    add(`${prefix}:manifest:uid`, collections.manifestUid.toString(16))
    for (const id of bucket.collections.manifest.collections.keys()) {
      if (!collections.has(id)) continue
      add(`${prefix}:${hex(id)}:items`, vbucket.collectionItems(id))
      add(`${prefix}:${hex(id)}:high_seqno`, collections.highSeqno(id))
    }
    for (const id of collections.doomed.keys()) add(`${prefix}:${hex(id)}:erasing`, 'true')
  }
  return Status.success
}

function itemsOf(bucket: Bucket, collection: number): number {
  let items = 0
  for (const vbucket of bucket.vbuckets()) items += vbucket.collectionItems(collection)
  return items
}

function hex(id: number): string {
  return `0x${id.toString(16)}`
}
