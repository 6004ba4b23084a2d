import type { DcpService } from '../dcp/service.ts'
import type { DcpFigures } from '../dcp/statistics.ts'
import { only, perScrape, type MetricsRegistry } from './registry.ts'

type Figure = readonly [name: string, help: string, read: (of: DcpFigures) => number]

const gauges: readonly Figure[] = [
  ['dcp_connections', 'Stream connections open.', of => of.connections],
  ['dcp_streams_backfilling', 'Streams that read from disk.', of => of.streamsBackfilling],
  ['dcp_streams_in_memory', 'Streams fed from the change log.', of => of.streamsInMemory],
  ['dcp_remaining_items', 'Changes that open streams have still to send.', of => of.itemsRemaining],
  ['dcp_unacked_bytes', 'Sent with flow control, not acknowledged.', of => of.unackedBytes],
  ['dcp_queued_bytes', 'Handed to sockets, not taken by the kernel.', of => of.queuedBytes],
  ['parked_snapshots', 'Snapshots kept for clients that are away.', of => of.parkedSnapshots],
  ['parked_vbuckets', 'Vbuckets with a parked snapshot, by client.', of => of.parkedVbuckets],
  ['parked_oldest_seconds', 'Since when the oldest one is parked.', of => of.parkedOldestSeconds],
  [
    'received_snapshots',
    'Snapshots kept for clients that have them and may ask again from within.',
    of => of.receivedSnapshots,
  ],
]

const counters: readonly Figure[] = [
  ['dcp_connections_total', 'Stream connections opened.', of => of.counters.connectionsOpened],
  ['dcp_streams_total', 'Streams opened.', of => of.counters.streamsOpened],
  ['dcp_sent_bytes_total', 'Bytes of stream frames.', of => of.sentBytes],
  ['dcp_rollbacks_total', 'Stream requests answered with a rollback.', of => of.counters.rollbacks],
  ['dcp_backfills_total', 'Backfills started.', of => of.counters.backfillsStarted],
  ['parked_total', 'Snapshots parked.', of => of.counters.parked],
  ['resumed_total', 'Parked snapshots that their client went on in.', of => of.counters.resumed],
  [
    'taken_over_total',
    'Connections or snapshots taken over by a new connection of their client.',
    of => of.counters.takenOver,
  ],
  [
    'bytes_not_sent_again_total',
    'About what resumed clients had already and a new start would have sent again.',
    of => of.counters.bytesNotSentAgain,
  ],
]

/** Streams, and the snapshots that are parked for clients that are away. */
export function registerStreams(registry: MetricsRegistry, dcp: DcpService): void {
  const figures = perScrape(() => dcp.figures())
  for (const [name, help, read] of gauges) {
    registry.gauge({ name: `holdfast_${name}`, help }, () => only(read(figures())))
  }
  for (const [name, help, read] of counters) {
    registry.counter({ name: `holdfast_${name}`, help }, () => only(read(figures())))
  }
  registry.counter(
    {
      name: 'holdfast_dcp_streams_ended_total',
      help: 'Streams ended, by reason.',
      labels: ['reason'],
    },
    () => [...dcp.counters.streamsEnded].map(([reason, value]) => ({ labels: { reason }, value })),
  )
  registry.counter(
    {
      name: 'holdfast_parked_expired_total',
      help: 'Parked snapshots given up although their client may come back, by cause.',
      labels: ['cause'],
    },
    () =>
      Object.entries(dcp.counters.expired).map(([cause, value]) => ({ labels: { cause }, value })),
  )
  registerProgress(registry, figures)
}

/** One value for each stream that is behind: there may be very many, and most are not. */
function registerProgress(registry: MetricsRegistry, figures: () => DcpFigures): void {
  registry.gauge(
    {
      name: 'holdfast_dcp_stream_remaining_items',
      help: 'Changes that a stream has still to send; only of streams that are behind.',
      labels: ['bucket', 'connection', 'vbucket', 'phase'],
    },
    () => {
      const samples = []
      for (const stream of figures().streams()) {
        const { bucket, connection, vbid: vbucket, phase, sentSeqno, highSeqno } = stream
        const value = highSeqno - sentSeqno
        if (value > 0) samples.push({ labels: { bucket, connection, vbucket, phase }, value })
      }
      return samples
    },
  )
}
