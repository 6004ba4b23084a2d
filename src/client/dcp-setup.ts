import { writeUint32 } from '../../protocol/bytes.ts'
import { DcpControlKey } from '../../protocol/dcp/control.ts'
import { dcpOpenExtrasLength, DcpOpenFlag } from '../../protocol/dcp/open.ts'
import { MarkerVersion } from '../../protocol/dcp/snapshot-marker.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Connection } from './connection.ts'
import type { DcpSettings } from './dcp-options.ts'
import { ServerError } from './errors.ts'
import { expectSuccess } from './handshake.ts'

interface Control {
  readonly key: string
  readonly value: string
  /** Without it the client could not keep what it promises. */
  readonly required: boolean
}

/**
 * Makes `connection` a producer for us and settles how it shall behave. Everything is sent at
 * once; the server works in order. Returns the names of the controls it granted: an optional one
 * may be refused as malformed or unsupported, which is how one finds out what a server can do.
 */
export async function openProducer(
  connection: Connection,
  settings: DcpSettings,
): Promise<ReadonlySet<string>> {
  const open = connection.send(
    { opcode: Opcode.dcpOpen, key: settings.name, extras: openExtras(settings) },
    expectSuccess,
  )
  const granted = new Set<string>()
  const controls = controlsOf(settings).map(({ key, value, required }) =>
    connection.send({ opcode: Opcode.dcpControl, key, value }, frame => {
      if (frame.status === Status.success) granted.add(key)
      else if (required || !isRefusal(frame.status)) throw ServerError.from(frame)
    }),
  )
  const results = await Promise.allSettled([open, ...controls])
  for (const result of results) if (result.status === 'rejected') throw result.reason
  return granted
}

function openExtras(settings: DcpSettings): Buffer {
  let flags: number = DcpOpenFlag.producer | DcpOpenFlag.includeDeleteTimes
  if (settings.keysOnly) flags |= DcpOpenFlag.noValue
  if (settings.includeXattrs) {
    flags |= DcpOpenFlag.includeXattrs | DcpOpenFlag.includeDeletedUserXattrs
  }
  const extras = Buffer.alloc(dcpOpenExtrasLength)
  writeUint32(extras, 4, flags)
  return extras
}

function controlsOf(settings: DcpSettings): Control[] {
  const { bufferBytes, noopIntervalMs, backfillResume } = settings
  const controls: Control[] = [
    { key: DcpControlKey.enableNoop, value: 'true', required: true },
    { key: DcpControlKey.setNoopInterval, value: String(noopIntervalMs / 1000), required: true },
    { key: DcpControlKey.enableExpiryOpcode, value: 'true', required: false },
    { key: DcpControlKey.maxMarkerVersion, value: MarkerVersion.v22, required: false },
    { key: DcpControlKey.sendStreamEndOnClientClose, value: 'true', required: false },
  ]
  if (bufferBytes > 0) {
    const key = DcpControlKey.connectionBufferSize
    controls.push({ key, value: String(bufferBytes), required: true })
  }
  if (backfillResume !== false) {
    const value = backfillResume === true ? 'true' : JSON.stringify(backfillResume)
    controls.push({ key: DcpControlKey.backfillResume, value, required: false })
  }
  for (const [key, value] of Object.entries(settings.controls))
    controls.push({ key, value, required: false })
  return controls
}

function isRefusal(status: number): boolean {
  return (
    status === Status.invalidArguments ||
    status === Status.notSupported ||
    status === Status.unknownCommand
  )
}
