import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import type { FrameForm } from '../storage/record-frame.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import type { Negotiated } from './controls.ts'
import type { DcpCounters } from './counters.ts'
import type { Deliveries } from './deliveries.ts'
import type { OpeningTurns } from './opening-turns.ts'
import type { ParkingLot } from './parking/parking-lot.ts'
import type { Reaper } from './parking/reaper.ts'
import type { Stream, StreamHost } from './stream.ts'
import type { StreamOpening } from './stream-opening.ts'

/** What opening a stream needs of its producer. */
export interface ProducerCore {
  readonly bucket: Bucket
  readonly user: string
  readonly connectionName: string
  readonly clock: Clock
  readonly log: Log
  readonly counters: DcpCounters
  readonly lot: ParkingLot
  readonly reaper: Reaper
  readonly negotiated: Negotiated
  /** Of the frames, as DCP_OPEN asked for them. */
  readonly form: Omit<FrameForm, 'opaque' | 'expiryOpcode' | 'collections' | 'filter' | 'streamId'>
  /** The client knows of collections. */
  readonly isAware: boolean
  /** Names this connection's pins and holds. */
  readonly holder: string
  readonly host: StreamHost
  /** undefined: its streams are not resumable. */
  readonly deliveries: Deliveries | undefined
  /** By slot, see stream-scope.ts. */
  readonly streams: Map<number, Stream>
  /** Requests that are being decided, in the same way. */
  readonly opening: Map<number, StreamOpening>
  readonly openingTurns: OpeningTurns
  readonly isClosed: boolean
  /** Snapshots resumed since the log was told. */
  resumed: number
  /** A stream request has been decided: it is answered before the first frame of its stream. */
  answered(opening: StreamOpening): void
}
