import type { Frame } from '../frame.ts'
import { headerLength } from '../header.ts'
import { Opcode } from '../opcode.ts'
import { isMessage, writeMessageHeader } from './message.ts'

/**
 * DCP_CONTROL (0x5e): sets one property of the connection. No extras, both texts are there.
 *
 * ```
 * key: the name of the property   value: its value, as text
 * ```
 */
export const DcpControlKey = {
  backfillOrder: 'backfill_order',
  /** Ours: keep what a backfill reads from while the client is away. */
  backfillResume: 'backfill_resume',
  changeStreams: 'change_streams',
  connectionBufferSize: 'connection_buffer_size',
  enableExpiryOpcode: 'enable_expiry_opcode',
  enableNoop: 'enable_noop',
  enableOutOfOrderSnapshots: 'enable_out_of_order_snapshots',
  enableStreamId: 'enable_stream_id',
  enableSyncWrites: 'enable_sync_writes',
  consumerName: 'consumer_name',
  flatbuffersSystemEvents: 'flatbuffers_system_events',
  forceValueCompression: 'force_value_compression',
  includeDeletedUserXattrs: 'include_deleted_user_xattrs',
  maxMarkerVersion: 'max_marker_version',
  sendStreamEndOnClientClose: 'send_stream_end_on_client_close_stream',
  setNoopInterval: 'set_noop_interval',
  setPriority: 'set_priority',
  streamBufferSize: 'stream_buffer_size',
  supportsCursorDropping: 'supports_cursor_dropping',
  supportsCursorDroppingVulcan: 'supports_cursor_dropping_vulcan',
  v7DcpStatusCodes: 'v7_dcp_status_codes',
} as const
export type DcpControlKey = (typeof DcpControlKey)[keyof typeof DcpControlKey]

export interface DcpControl {
  opaque: number
  key: string
  value: string
}

export function dcpControlLength(fields: DcpControl): number {
  return headerLength + Buffer.byteLength(fields.key) + Buffer.byteLength(fields.value)
}

export function encodeDcpControl(target: Uint8Array, offset: number, fields: DcpControl): number {
  const key = Buffer.from(fields.key)
  const value = Buffer.from(fields.value)
  const message = { opaque: fields.opaque, vbid: 0 }
  target.set(key, offset + headerLength)
  target.set(value, offset + headerLength + key.length)
  const opcode = Opcode.dcpControl
  return writeMessageHeader(target, offset, opcode, message, key.length, 0, value.length)
}

export function decodeDcpControl(frame: Frame): DcpControl | undefined {
  if (!isMessage(frame, Opcode.dcpControl, 0)) return undefined
  if (frame.keyLength === 0 || frame.valueLength === 0) return undefined
  return {
    opaque: frame.opaque,
    key: frame.key().toString(),
    value: frame.value().toString(),
  }
}
