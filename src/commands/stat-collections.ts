/** Groups about collections, under the names that Couchbase's tools read. */
import { Status } from '../../protocol/status.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { sumOfHeld, type Held } from '../storage/held.ts'
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
    const { items, bytes } = heldBy(bucket, [id])
    add(`${place}:items`, items)
    add(`${place}:data_size`, bytes)
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
    const ids = collections.map(collection => collection.id)
    const { items, bytes } = heldBy(bucket, ids)
    add(`${hex(id)}:items`, items)
    add(`${hex(id)}:data_size`, bytes)
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
      const { items, bytes } = vbucket.heldBy(id)
      add(`${prefix}:${hex(id)}:items`, items)
      add(`${prefix}:${hex(id)}:data_size`, bytes)
      add(`${prefix}:${hex(id)}:high_seqno`, collections.highSeqno(id))
    }
    for (const id of collections.doomed.keys()) add(`${prefix}:${hex(id)}:erasing`, 'true')
  }
  return Status.success
}

/** By these collections, in all vbuckets. */
function heldBy(bucket: Bucket, collections: readonly number[]): Held {
  const vbuckets = [...bucket.vbuckets()]
  return sumOfHeld(vbuckets.flatMap(vbucket => collections.map(id => vbucket.heldBy(id))))
}

function hex(id: number): string {
  return `0x${id.toString(16)}`
}
