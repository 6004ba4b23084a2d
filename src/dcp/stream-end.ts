import { StreamEndReason } from '../../protocol/dcp/stream-end.ts'
import type { Log } from '../log.ts'
import { ReleaseCause } from './parking/held-snapshot.ts'
import type { Stream } from './stream.ts'

/** Why a stream's end lets go of what its client could come back for; undefined: it does not. */
export function causeOf(reason: StreamEndReason): ReleaseCause | undefined {
  if (reason === StreamEndReason.closed) return ReleaseCause.closed
  if (reason === StreamEndReason.rollback) return ReleaseCause.rolledBack
  return reason === StreamEndReason.slow ? ReleaseCause.pinnedBytesMax : undefined
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
