import { StreamEndReason } from '../../protocol/dcp/stream-end.ts'
import type { Log } from '../log.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { ReleaseCause } from './parking/held-snapshot.ts'
import { sharedSeqno } from './rollback.ts'
import type { Stream } from './stream.ts'
import { mayRead } from './stream-request.ts'

/** Why a stream's end lets go of what its client could come back for; undefined: it does not. */
export function causeOf(reason: StreamEndReason): ReleaseCause | undefined {
  if (reason === StreamEndReason.closed) return ReleaseCause.closed
  if (reason === StreamEndReason.rollback) return ReleaseCause.rolledBack
  return reason === StreamEndReason.slow ? ReleaseCause.pinnedBytesMax : undefined
}

/** Whether its vbucket, as it is now, ends a stream, and why. */
export function endNow(
  stream: Stream,
  bucket: Bucket,
): { reason: StreamEndReason; cause: ReleaseCause } | undefined {
  const { vbucket, options } = stream
  const isHere = bucket.vbucket(vbucket.id) === vbucket
  if (!isHere || !mayRead(vbucket, options.activeOnly)) {
    return { reason: StreamEndReason.stateChanged, cause: ReleaseCause.state }
  }
  const { entries: failoverLog } = vbucket.failoverLog
  const shared = sharedSeqno(options.vbuuid, { failoverLog, highSeqno: vbucket.highSeqno })
  if (shared !== undefined && shared >= stream.cursor) return undefined
  return { reason: StreamEndReason.rollback, cause: ReleaseCause.history }
}

/** One line for each end; the expected ones only for those who look closely. */
export function logEnd(log: Log, stream: Stream): void {
  const { vbid, cursor, failure, endReason } = stream
  const fields = { vbid, reason: stream.describeEnd(), seqno: cursor }
  if (failure !== undefined) {
    log.error({ ...fields, error: failure }, 'stream failed')
  } else if (endReason === StreamEndReason.ok || endReason === StreamEndReason.closed) {
    log.debug(fields, 'stream ended')
  } else {
    log.info(fields, 'stream ended')
  }
}
