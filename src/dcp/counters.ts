import { expiryCauses, type ExpiryCause } from './parking/held-snapshot.ts'

/** What has happened since the start, for metrics and stats. */
export class DcpCounters {
  connectionsOpened = 0
  streamsOpened = 0
  rollbacks = 0
  /** Bytes of stream frames, sent on connections that are closed by now. */
  sentBytesBefore = 0
  backfillsStarted = 0
  parked = 0
  resumed = 0
  /** Connections closed, or snapshots taken, because their client opened another connection. */
  takenOver = 0
  /** Parked snapshots whose client did not come back in time, by what ended them. */
  readonly expired: Record<ExpiryCause, number>
  /** Bytes that resumed clients had already and a new start would have sent again; about. */
  bytesNotSentAgain = 0
  readonly streamsEnded = new Map<string, number>()

  constructor() {
    this.expired = Object.fromEntries(expiryCauses.map(cause => [cause, 0])) as Record<
      ExpiryCause,
      number
    >
  }

  streamEnded(reason: string): void {
    this.streamsEnded.set(reason, (this.streamsEnded.get(reason) ?? 0) + 1)
  }
}
