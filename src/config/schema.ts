import { z } from 'zod'
import { noFile } from './kinds.ts'
import { isLoopback } from './loopback.ts'
import { optionRows, options } from './options.ts'
import type { Settings } from './settings.ts'

const byFlag = Object.fromEntries(optionRows.map(([, { flag, kind }]) => [flag, kind.schema]))

/** Checks merged values, one row at a time and then those that constrain each other. */
export const settingsSchema = z
  .strictObject(byFlag)
  .transform(
    values =>
      Object.fromEntries(optionRows.map(([name, { flag }]) => [name, values[flag]])) as Settings,
  )
  .superRefine((settings, context) => {
    for (const agreement of agreements) {
      if (agreement.holds(settings)) continue
      context.addIssue({ code: 'custom', path: [agreement.flag], message: agreement.problem })
    }
  })

interface Agreement {
  /** The setting that is named as the one to change. */
  readonly flag: string
  holds(settings: Settings): boolean
  readonly problem: string
}

/** What surrounds key and value in the longest request: header, framing extras, extras. */
const frameOverheadBytes = 24 + 255 + 255

const portFlags = [options.port, options.httpPort, options.tlsPort, options.httpsPort].map(
  ({ flag }) => flag,
)

/** One of the ports, which must not be one of those before it. */
function differingPort(index: number): Agreement {
  return {
    flag: portFlags[index]!,
    holds: ({ port, httpPort, tlsPort, httpsPort }) => {
      const ports = [port, httpPort, tlsPort, httpsPort]
      const own = ports[index]!
      return own === 'off' || own === 0 || !ports.slice(0, index).includes(own)
    },
    problem: `must differ from ${portFlags.slice(0, index).join(' and ')}`,
  }
}

const agreements: readonly Agreement[] = [
  {
    flag: options.noAuth.flag,
    holds: ({ noAuth, host }) => !noAuth || isLoopback(host),
    problem: `needs a ${options.host.flag} of this machine alone, as anybody who reaches it can read and write everything; use 127.0.0.1, ::1 or localhost`,
  },
  ...[1, 2, 3].map(index => differingPort(index)),
  {
    flag: options.port.flag,
    holds: ({ port, tlsPort }) => port !== 'off' || tlsPort !== 'off',
    problem: `cannot be off unless there is a ${options.tlsPort.flag}`,
  },
  {
    flag: options.httpPort.flag,
    holds: ({ httpPort, httpsPort }) => httpPort !== 'off' || httpsPort !== 'off',
    problem: `cannot be off unless there is an ${options.httpsPort.flag}`,
  },
  {
    flag: options.httpsPort.flag,
    holds: ({ httpsPort, tlsCertificate, tlsKey }) =>
      httpsPort === 'off' || (tlsCertificate !== noFile && tlsKey !== noFile),
    problem: `needs ${options.tlsCertificate.flag} and ${options.tlsKey.flag}`,
  },
  {
    flag: options.tlsPort.flag,
    holds: ({ tlsPort, tlsCertificate, tlsKey }) =>
      tlsPort === 'off' || (tlsCertificate !== noFile && tlsKey !== noFile),
    problem: `needs ${options.tlsCertificate.flag} and ${options.tlsKey.flag}`,
  },
  {
    flag: options.tlsClientCa.flag,
    holds: ({ tlsPort, tlsClientCa }) => tlsClientCa === noFile || tlsPort !== 'off',
    problem: `needs a ${options.tlsPort.flag}`,
  },
  {
    flag: options.unflushedSoftBytes.flag,
    holds: settings => settings.unflushedSoftBytes <= settings.unflushedHardBytes,
    problem: `must not be above ${options.unflushedHardBytes.flag}`,
  },
  {
    flag: options.frameBytesMax.flag,
    holds: ({ frameBytesMax, keyBytesMax, valueBytesMax }) =>
      frameBytesMax >= valueBytesMax + keyBytesMax + frameOverheadBytes,
    problem: `must leave room for ${options.valueBytesMax.flag}, ${options.keyBytesMax.flag} and what surrounds them`,
  },
  {
    flag: options.backfillGraceSeconds.flag,
    holds: settings => settings.backfillGraceSeconds <= settings.backfillGraceMaxSeconds,
    problem: `must not be above ${options.backfillGraceMaxSeconds.flag}`,
  },
  {
    flag: options.parkedPerClientMax.flag,
    holds: settings => settings.parkedPerClientMax <= settings.parkedMax,
    problem: `must not be above ${options.parkedMax.flag}`,
  },
]
