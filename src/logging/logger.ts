import { destination, pino, stdSerializers, stdTimeFunctions } from 'pino'
import type { Settings } from '../config/settings.ts'
import type { Log } from '../log.ts'

/** The daemon's log: JSON lines on standard error. */
export interface Logger extends Log {
  /** The process cannot go on; call `flush` before it ends. */
  fatal(fields: object, message: string): void
  /** Writes out what is still queued, waiting for it. */
  flush(): void
}

/**
 * A reader of the log that stalls must not stall the database: lines are written in the
 * background, and past this many bytes queued new ones are dropped.
 */
const queuedBytesMax = 4 * 1024 * 1024

/** Makes the daemon's logger. Document keys appear in the field `key` only, see `CONTRIBUTING.md`. */
export function createLogger(
  { logLevel, logKeys }: Pick<Settings, 'logLevel' | 'logKeys'>,
  fileDescriptor = 2,
): Logger {
  const target = destination({ dest: fileDescriptor, sync: false, maxLength: queuedBytesMax })
  // Standard error may be closed by whoever reads it; the daemon goes on without it.
  target.on('error', () => {})
  const error = stdSerializers.err
  const logger = pino(
    {
      level: logLevel,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      serializers: { error, err: error, cause: error, key: logKeys ? printableKey : redactedKey },
    },
    target,
  )
  return Object.assign(logger, {
    flush() {
      try {
        target.flushSync()
      } catch {
        // Nobody reads the log any more: nothing is left to tell.
      }
    },
  })
}

function redactedKey(): string {
  return '[redacted]'
}

function printableKey(key: unknown): unknown {
  return key instanceof Uint8Array ? Buffer.from(key).toString() : key
}
