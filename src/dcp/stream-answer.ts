/** What a stream request is answered. */
import { Datatype } from '../../protocol/datatype.ts'
import { encodeRollbackSeqno } from '../../protocol/dcp/stream-request.ts'
import { Status } from '../../protocol/status.ts'
import type { HeldSnapshot } from './parking/held-snapshot.ts'
import type { ProducerCore } from './producer-core.ts'
import { placeIn } from './resumption.ts'
import type { RollbackDecision } from './rollback.ts'
import type { WantedStream } from './stream-request.ts'

export interface StreamAnswer {
  status: Status
  /** The failover log, or the seqno to roll back to. */
  value: Buffer
  datatype?: Datatype
}

/** Who asked for a stream; one of them is called, once. */
export interface StreamAsker {
  reply(answer: StreamAnswer): void
  fail(error: unknown): void
}

const nothing = Buffer.alloc(0)

export function refusal(status: Status): StreamAnswer {
  return { status, value: nothing }
}

/** There is no such collection or scope: with the manifest that says so. */
export function refuseScope(producer: ProducerCore, status: Status): StreamAnswer {
  if (!producer.isAware) return refusal(status)
  const { uidText: manifest_uid } = producer.bucket.collections.manifest
  const value = Buffer.from(JSON.stringify({ manifest_uid }))
  return { status, value, datatype: Datatype.json }
}

/** The client has something that we do not have, or lacks something that is gone. */
export function rollBack(
  producer: ProducerCore,
  wanted: WantedStream,
  { rollbackTo, reason }: RollbackDecision,
): StreamAnswer {
  const { start, snapshotStart, snapshotEnd, uuid, scope } = wanted
  const { vbid } = scope
  const place = placeIn(producer, scope)
  const presented = { start, snapshotStart, snapshotEnd, uuid: uuid.toString(16) }
  const kept = place === undefined ? undefined : keptFor(producer, place)
  producer.counters.rollbacks++
  producer.log.info({ vbid, ...presented, rollbackTo, reason, kept }, 'client has to roll back')
  return { status: Status.rollback, value: encodeRollbackSeqno(rollbackTo!) }
}

/** For the log: what was kept for a client that had to roll back all the same. */
function keptFor(producer: ProducerCore, place: string): string {
  const others = producer.lot.at(place)
  if (others.length > 0) return `another snapshot: ${others.map(boundsOf).join(', ')}`
  const epitaph = producer.lot.epitaph(place)
  if (epitaph === undefined) return 'nothing'
  const agoSeconds = Math.round((producer.clock.nowMs() - epitaph.atMs) / 1000)
  return `nothing any more: ${boundsOf(epitaph)} went ${agoSeconds} s ago (${epitaph.cause})`
}

function boundsOf({
  snapshotStart,
  snapshotEnd,
}: Pick<HeldSnapshot, 'snapshotStart' | 'snapshotEnd'>) {
  return `${snapshotStart}..${snapshotEnd}`
}
