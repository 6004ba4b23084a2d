/** DCP_OPEN: what a client wants its connection to be, checked. */
import { DcpOpenFlag } from '../../protocol/dcp/open.ts'
import { Status } from '../../protocol/status.ts'
import { StatusError } from '../errors.ts'

export interface ConnectionForm {
  includeXattrs: boolean
  noValue: boolean
  deleteTimes: boolean
  deletedUserXattrs: boolean
  /** HELLO granted compressed values. */
  keepSnappy: boolean
  forceSnappy: boolean
}

const known = Object.values(DcpOpenFlag).reduce((all, flag) => all | flag, 0)
/** Known to others, not done here: better refused than served differently from what was asked. */
const unsupported =
  DcpOpenFlag.noValueWithUnderlyingDatatype | DcpOpenFlag.skipDeletesInInitialBackfill

export function readOpen(
  name: string,
  flags: number,
  value: string,
  nameBytesMax: number,
  snappy = false,
): ConnectionForm {
  const nameBytes = Buffer.byteLength(name)
  if (nameBytes === 0 || nameBytes > nameBytesMax) {
    throw new StatusError(
      Status.invalidArguments,
      `a connection name has 1 to ${nameBytesMax} bytes, this one ${nameBytes}`,
    )
  }
  if ((flags & ~known) !== 0) {
    throw new StatusError(Status.invalidArguments, `unknown flags 0x${flags.toString(16)}`)
  }
  if ((flags & DcpOpenFlag.producer) === 0) {
    throw new StatusError(Status.notSupported, 'only producer connections are served')
  }
  if ((flags & unsupported) !== 0) {
    throw new StatusError(Status.notSupported, `unsupported flags 0x${flags.toString(16)}`)
  }
  if (value !== '' && !isObject(value)) {
    throw new StatusError(Status.invalidArguments, 'the value must be a JSON object')
  }
  return {
    includeXattrs: (flags & DcpOpenFlag.includeXattrs) !== 0,
    noValue: (flags & DcpOpenFlag.noValue) !== 0,
    deleteTimes: (flags & DcpOpenFlag.includeDeleteTimes) !== 0,
    deletedUserXattrs: (flags & DcpOpenFlag.includeDeletedUserXattrs) !== 0,
    keepSnappy: snappy,
    forceSnappy: false,
  }
}

function isObject(text: string): boolean {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
  } catch {
    return false
  }
}
