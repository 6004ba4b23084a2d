import { closeSync, openSync } from 'node:fs'
import { destination, pino, stdTimeFunctions } from 'pino'
import type { AuditEvent, AuditLog } from '../auth/audit.ts'
import { OperatorError } from '../errors.ts'

/** What is kept of lines that cannot be written, because the disk is full for instance. */
const unwrittenBytesMax = 1024 * 1024

/** JSON lines in a file that only its owner may read: time, event, who, from where, on what. */
export class AuditFile implements AuditLog {
  readonly #file: number
  readonly #target: ReturnType<typeof destination>
  readonly #logger: pino.Logger

  /** Goes on behind what is there. Fails with an OperatorError if the file cannot be written. */
  constructor(path: string) {
    try {
      this.#file = openSync(path, 'a', 0o600)
    } catch (error) {
      const { message } = error as Error
      const hint = 'make its folder writable, or name another file with --audit-log'
      throw new OperatorError('audit-log-unusable', message, hint, { cause: error })
    }
    // Written before the call returns: what happened is there even if the process ends next.
    this.#target = destination({ dest: this.#file, sync: true, maxLength: unwrittenBytesMax })
    // A full disk must not end the daemon; what could not be written is written once it can.
    this.#target.on('error', () => {})
    this.#logger = pino(
      {
        base: null,
        timestamp: stdTimeFunctions.isoTime,
        formatters: { level: label => ({ level: label }) },
      },
      this.#target,
    )
  }

  record(event: AuditEvent, fields: object): void {
    this.#logger.info({ event, ...fields })
  }

  close(): void {
    this.#target.flushSync()
    closeSync(this.#file)
  }
}
