import { StreamEndReason } from '../../protocol/dcp/stream-end.ts'
import { Deliveries } from './deliveries.ts'
import type { Delivery } from './delivery.ts'
import { LinkPositions, type Link } from './link-positions.ts'
import { clientOf, placesOf, receivedGraceMsOf } from './parking/identity.ts'
import type { ProducerCore } from './producer-core.ts'
import type { DcpSettings } from './settings.ts'

/** What a connection's resumable streams have under way; undefined: they are not resumable. */
export function deliveriesOf(
  producer: ProducerCore & Link & { readonly settings: DcpSettings },
  claims: Map<string, Delivery>,
): Deliveries | undefined {
  const { resume } = producer.negotiated
  if (resume.kind === 'off') return undefined
  const { lot, clock, bucket, user, holder, settings, streams, reaper } = producer
  const receivedGraceMs = receivedGraceMsOf(resume)
  return new Deliveries({
    lot,
    clock,
    bucket,
    claims,
    client: clientOf(user, bucket.name, resume, holder),
    places: placesOf(user, bucket.name, resume),
    graceMs: resume.graceMs,
    purgeHoldMaxMs: settings.purgeHoldMaxSeconds * 1000,
    receivedGraceMs,
    onReceived: held => reaper.received(held, receivedGraceMs),
    positions: new LinkPositions(producer),
    onTakenOver: slot => streams.get(slot)?.end(StreamEndReason.disconnected),
  })
}
