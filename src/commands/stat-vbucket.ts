/** Groups about vbuckets, under the names that Couchbase's tools read. */
import { Status } from '../../protocol/status.ts'
import { vbucketStateName } from '../../protocol/vbucket-state.ts'
import { inDefaultCollection } from '../storage/record-key.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import type { Session } from './session.ts'
import type { AddStatistic, StatisticsGroup } from './stat.ts'

/** A group about one vbucket, if a number follows its name, or else about all. */
function eachVbucket(addOne: (vbucket: Vbucket, add: AddStatistic) => void): StatisticsGroup {
  return (session, add, [wanted]) => {
    const { bucket } = session
    if (bucket === undefined) return Status.noBucket
    if (wanted === undefined) {
      for (const vbucket of bucket.vbuckets()) addOne(vbucket, add)
      return Status.success
    }
    const vbucket = vbucketNamed(session, bucket, wanted)
    if (typeof vbucket === 'number') return vbucket
    addOne(vbucket, add)
    return Status.success
  }
}

function vbucketNamed(session: Session, bucket: Bucket, text: string): Vbucket | Status {
  if (!/^\d{1,5}$/.test(text)) {
    session.errorContext = `no vbucket number: ${text}`
    return Status.invalidArguments
  }
  return bucket.vbucket(Number(text)) ?? Status.notMyVbucket
}

export const vbucketStates = eachVbucket((vbucket, add) => {
  add(`vb_${vbucket.id}`, vbucketStateName(vbucket.state))
})

export const vbucketSeqnos = eachVbucket((vbucket, add) => {
  const name = `vb_${vbucket.id}`
  add(`${name}:high_seqno`, vbucket.highSeqno)
  add(`${name}:abs_high_seqno`, vbucket.highSeqno)
  add(`${name}:last_persisted_seqno`, vbucket.persistedSeqno)
  add(`${name}:last_persisted_snap_start`, vbucket.persistedSeqno)
  add(`${name}:last_persisted_snap_end`, vbucket.persistedSeqno)
  add(`${name}:purge_seqno`, vbucket.purgeSeqno)
  add(`${name}:uuid`, vbucket.failoverLog.vbuuid)
  // Older tools look for this name.
  add(`${name}:vb_uuid`, vbucket.failoverLog.vbuuid)
})

export const vbucketDetails = eachVbucket((vbucket, add) => {
  const name = `vb_${vbucket.id}`
  add(name, vbucketStateName(vbucket.state))
  add(`${name}:num_items`, vbucket.itemCount)
  add(`${name}:num_tombstones`, vbucket.tombstoneCount)
  add(`${name}:queue_size`, vbucket.highSeqno - vbucket.persistedSeqno)
  add(`${name}:high_seqno`, vbucket.highSeqno)
  add(`${name}:persisted_seqno`, vbucket.persistedSeqno)
  add(`${name}:purge_seqno`, vbucket.purgeSeqno)
  add(`${name}:uuid`, vbucket.failoverLog.vbuuid)
  add(`${name}:max_cas`, vbucket.maxCas)
})

export const failovers = eachVbucket((vbucket, add) => {
  const name = `vb_${vbucket.id}`
  const { entries } = vbucket.failoverLog
  add(`${name}:num_entries`, entries.length)
  for (const [place, { vbuuid, seqno }] of entries.entries()) {
    add(`${name}:${place}:id`, vbuuid)
    add(`${name}:${place}:seq`, seqno)
  }
})

/** `key NAME VBUCKET`: the metadata of a document. */
export const keyStatistics: StatisticsGroup = (session, add, [key, vbid]) => {
  const { bucket } = session
  if (bucket === undefined) return Status.noBucket
  if (key === undefined || vbid === undefined) {
    session.errorContext = 'a key and the number of its vbucket have to follow'
    return Status.invalidArguments
  }
  const vbucket = vbucketNamed(session, bucket, vbid)
  if (typeof vbucket === 'number') return vbucket
  const bytes = inDefaultCollection(Buffer.from(key))
  const record = session.documents.get(vbucket, bytes, 0, bytes.length)
  if (record === undefined) return Status.keyNotFound
  add('key_cas', record.cas)
  add('key_exptime', record.expiry)
  add('key_flags', record.flags)
  add('key_is_dirty', String(record.seqno > vbucket.persistedSeqno))
  add('key_seqno', record.seqno)
  add('key_revision', record.revno)
  add('key_vb_state', vbucketStateName(vbucket.state))
  return Status.success
}
