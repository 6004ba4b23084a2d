import type { Access } from '../auth/access.ts'
import type { AuditLog } from '../auth/audit.ts'
import type { Clock } from '../clock.ts'
import type { DcpService } from '../dcp/service.ts'
import type { Log } from '../log.ts'
import type { Buckets } from '../vbucket/buckets.ts'
import type { Address, ClusterMaps } from './cluster-map.ts'
import type { DelayedFlushes } from './flush.ts'

/** The settings that commands look at; a part of the daemon's. */
export interface CommandSettings {
  readonly ack: 'memory' | 'disk'
  readonly keyBytesMax: number
  readonly valueBytesMax: number
  readonly connectionsMax: number
  readonly vbuckets: number
}

/** What has been answered since a client last asked to count anew, for STAT. */
export interface Traffic {
  readonly bytesRead: number
  readonly bytesWritten: number
  readonly connectionsAccepted: number
  readonly connectionsRefused: number
  /** Answers to `opcode` with `status`. */
  answer(opcode: number, status: number): number
  answersOf(opcode: number): number
  /** How many took less than 2^n microseconds and not less than half of that, for each n. */
  latenciesOf(opcode: number): readonly number[]
  reset(): void
}

/** What commands reach of the daemon besides their connection. */
export interface Node {
  readonly buckets: Buckets
  readonly dcp: DcpService
  readonly access: Access
  readonly audit: AuditLog
  readonly settings: CommandSettings
  readonly clock: Clock
  readonly log: Log
  readonly traffic: Traffic
  readonly address: Address
  readonly maps: ClusterMaps
  readonly flushes: DelayedFlushes
  /** Connections open now. */
  readonly connections: number
  readonly startedAtMs: number
}
