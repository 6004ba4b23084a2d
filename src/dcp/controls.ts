/**
 * DCP_CONTROL: what a client may set on its connection, one row for each name. A name that is not
 * here is answered EINVAL, by which clients tell what a server knows.
 */
import { DcpControlKey } from '../../protocol/dcp/control.ts'
import { MarkerVersion } from '../../protocol/dcp/snapshot-marker.ts'
import { Status } from '../../protocol/status.ts'
import type { Resume } from './parking/identity.ts'
import { parseResume, type GraceLimits } from './parking/identity.ts'
import type { FlowControl } from './flow-control.ts'
import type { ConnectionForm } from './open-request.ts'
import type { NoopTimer } from './noop.ts'
import { bytesPerTurn, type Priority, type Pump } from './pump.ts'
import type { ScanTurns } from './scan-turns.ts'

/** What a client has negotiated. */
export interface Negotiated {
  markerVersion: MarkerVersion
  expiryOpcode: boolean
  streamEndOnClose: boolean
  /** Several streams of one vbucket, each with an id. */
  streamIds: boolean
  resume: Resume
}

export interface Controlled {
  readonly connectionName: string
  readonly form: ConnectionForm
  readonly isAware: boolean
  readonly settings: GraceLimits
  readonly flow: FlowControl
  readonly noop: NoopTimer
  readonly pump: Pump
  readonly turns: ScanTurns
  readonly negotiated: Negotiated
  /** A stream has been asked for. */
  readonly hasStreamed: boolean
}

type Control = (connection: Controlled, value: string) => Status

/** Faster than anyone needs; slower than the timer that drives it. */
const noopIntervalMinSeconds = 0.5
const noopIntervalMaxSeconds = 10_800
const windowMax = 0xffffffff

const { success, invalidArguments, notSupported } = Status

const accepted: Control = (_connection, value) => (isBoolean(value) ? success : invalidArguments)
/** Can be switched on, and changes nothing here. */
const acceptedTrue: Control = (_connection, value) =>
  value === 'true' ? success : invalidArguments
const refused: Control = () => notSupported

const controls: Readonly<Record<string, Control>> = {
  [DcpControlKey.enableNoop]({ noop }, value) {
    if (!isBoolean(value)) return invalidArguments
    noop.enabled = value === 'true'
    return success
  },
  [DcpControlKey.setNoopInterval]({ noop }, value) {
    const seconds = decimal(value)
    if (seconds === undefined) return invalidArguments
    if (seconds < noopIntervalMinSeconds || seconds > noopIntervalMaxSeconds) {
      return invalidArguments
    }
    noop.intervalMs = seconds * 1000
    return success
  },
  [DcpControlKey.connectionBufferSize]({ flow, pump }, value) {
    if (!/^\d{1,10}$/.test(value) || Number(value) > windowMax) return invalidArguments
    flow.open(Number(value))
    pump.schedule()
    return success
  },
  [DcpControlKey.setPriority]({ pump }, value) {
    if (!Object.hasOwn(bytesPerTurn, value)) return invalidArguments
    pump.priority = value as Priority
    return success
  },
  [DcpControlKey.backfillOrder]({ turns }, value) {
    if (value !== 'round-robin' && value !== 'sequential') return invalidArguments
    turns.order = value
    return success
  },
  [DcpControlKey.enableExpiryOpcode]({ negotiated, form }, value) {
    if (!isBoolean(value)) return invalidArguments
    negotiated.expiryOpcode = value === 'true'
    // Expirations carry the time of deletion: who asks for them gets it with deletions, too.
    if (negotiated.expiryOpcode) form.deleteTimes = true
    return success
  },
  [DcpControlKey.sendStreamEndOnClientClose]({ negotiated }, value) {
    if (!isBoolean(value)) return invalidArguments
    // As everywhere, it can be switched on only.
    if (value === 'true') negotiated.streamEndOnClose = true
    return success
  },
  [DcpControlKey.maxMarkerVersion]({ negotiated }, value) {
    const version = Object.values(MarkerVersion).find(known => known === value)
    if (version === undefined) return invalidArguments
    negotiated.markerVersion = version
    return success
  },
  [DcpControlKey.backfillResume]({ connectionName, negotiated, settings, hasStreamed }, value) {
    // What is under way already is accounted for under the identity it began with.
    if (hasStreamed) return invalidArguments
    const resume = parseResume(value, connectionName, settings)
    if (typeof resume === 'number') return resume
    negotiated.resume = resume
    return success
  },
  [DcpControlKey.includeDeletedUserXattrs]({ form }, value) {
    return value === 'true' && form.deletedUserXattrs ? success : invalidArguments
  },
  [DcpControlKey.consumerName]: (_connection, value) => (value === '' ? invalidArguments : success),
  [DcpControlKey.supportsCursorDropping]: accepted,
  [DcpControlKey.supportsCursorDroppingVulcan]: accepted,
  [DcpControlKey.v7DcpStatusCodes]: acceptedTrue,
  // Events have their plain form only, and there are none for who knows of no collections.
  [DcpControlKey.flatbuffersSystemEvents]({ isAware }, value) {
    if (value !== 'true') return invalidArguments
    return isAware ? notSupported : success
  },
  // A permission, of which no use is made: snapshots come in order.
  [DcpControlKey.enableOutOfOrderSnapshots]: (_connection, value) =>
    value === 'true' || value === 'true_with_seqno_advanced' ? success : invalidArguments,
  [DcpControlKey.forceValueCompression]({ form }, value) {
    if (!isBoolean(value) || !form.keepSnappy) return invalidArguments
    form.forceSnappy = value === 'true'
    return success
  },
  [DcpControlKey.enableStreamId]({ negotiated, hasStreamed }, value) {
    // Streams without an id cannot get one any more.
    if (value !== 'true' || hasStreamed) return invalidArguments
    negotiated.streamIds = true
    return success
  },
  [DcpControlKey.enableSyncWrites]: refused,
  [DcpControlKey.streamBufferSize]: refused,
  [DcpControlKey.changeStreams]: refused,
}

export function control(connection: Controlled, key: string, value: string): Status {
  return Object.hasOwn(controls, key) ? controls[key]!(connection, value) : invalidArguments
}

function isBoolean(value: string): boolean {
  return value === 'true' || value === 'false'
}

function decimal(value: string): number | undefined {
  return /^\d{1,6}(\.\d{1,6})?$/.test(value) ? Number(value) : undefined
}
