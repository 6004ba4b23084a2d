import { destination, pino, stdSerializers, stdTimeFunctions } from 'pino'
import type { Settings } from '../config/settings.ts'
import type { Log } from '../log.ts'

/** The daemon's log: JSON lines on standard error. */
export interface Logger extends Log {
  /** The process cannot go on. */
  fatal(fields: object, message: string): void
}

/** What is kept of lines that cannot be written, because the log's disk is full for instance. */
const unwrittenBytesMax = 1024 * 1024

/** Makes the daemon's logger. Document keys appear in the field `key` only, see `CONTRIBUTING.md`. */
export function createLogger(
  { logLevel, logKeys }: Pick<Settings, 'logLevel' | 'logKeys'>,
  fileDescriptor = 2,
): Logger {
  // Written before the call returns: the last lines of a process that ends are the ones needed.
  const target = destination({ dest: fileDescriptor, sync: true, maxLength: unwrittenBytesMax })
  // Whoever reads the log may go away; the daemon goes on without it.
  target.on('error', () => {})
  const error = stdSerializers.err
  return pino(
    {
      level: logLevel,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      serializers: { error, err: error, cause: error, key: logKeys ? printableKey : redactedKey },
    },
    target,
  )
}

function redactedKey(): string {
  return '[redacted]'
}

function printableKey(key: unknown): unknown {
  return key instanceof Uint8Array ? Buffer.from(key).toString() : key
}
