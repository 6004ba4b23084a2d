import { BackupError, type BackupErrorCode } from '../backup/errors.ts'
import { ClientError } from '../client/errors.ts'
import { OperatorError } from '../errors.ts'

/** What the shell is told; `docs/client.md` has the table. */
export const ExitCode = {
  success: 0,
  /** The server said no, or there is no such key. */
  refused: 1,
  usage: 2,
  /** No connection, or one that was lost for good. */
  unreachable: 3,
  /** The resume file cannot be read, used or written. */
  resumeFile: 4,
  /** A backup that was stopped on request; --resume goes on with it. */
  resumable: 5,
  /** The last backup is unfinished: --resume or --purge. */
  unfinished: 6,
  /** The bucket has lost what was backed up: --purge or --full. */
  rollback: 7,
  /** Another tool is at work in the repository. */
  locked: 8,
  /** The key or passphrase is missing or wrong. */
  wrongKey: 9,
  /** What was read from the archive is not what was written. */
  damaged: 10,
  /** Another bucket, another format, other settings than the repository's. */
  mismatch: 11,
  /** The archive or the staging folder cannot be read or written. */
  store: 12,
  /** Other backups could not be restored any more. */
  chain: 13,
  /** The store cannot do what backups need. */
  unsuitable: 14,
  /** A bug: please report it. */
  bug: 70,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** Ends a command with a message of one line. */
export class CommandError extends Error {
  readonly exitCode: ExitCode
  constructor(exitCode: ExitCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CommandError'
    this.exitCode = exitCode
  }
}

const exitCodeOfBackup: Readonly<Record<BackupErrorCode, ExitCode>> = {
  missing: ExitCode.refused,
  refused: ExitCode.refused,
  interrupted: ExitCode.resumable,
  unfinished: ExitCode.unfinished,
  rollback: ExitCode.rollback,
  locked: ExitCode.locked,
  key: ExitCode.wrongKey,
  damaged: ExitCode.damaged,
  mismatch: ExitCode.mismatch,
  format: ExitCode.mismatch,
  store: ExitCode.store,
  staging: ExitCode.store,
  chain: ExitCode.chain,
}

/** The exit code and the line on standard error for whatever ended a command. */
export function describeFailure(error: unknown): { exitCode: ExitCode; line: string } {
  const line = `holdfast: ${messageOf(error).replace(/\s*\n\s*/g, ' ')}\n`
  if (error instanceof CommandError) return { exitCode: error.exitCode, line }
  if (error instanceof OperatorError) {
    const { message, code, hint } = error
    return { exitCode: ExitCode.refused, line: `holdfast: ${message} [${code}]: ${hint}\n` }
  }
  if (error instanceof BackupError) return { exitCode: exitCodeOfBackup[error.code], line }
  if (error instanceof RangeError) return { exitCode: ExitCode.usage, line }
  if (!(error instanceof ClientError)) return { exitCode: ExitCode.bug, line }
  if (error.code === 'HOLDFAST_STATUS') return { exitCode: ExitCode.refused, line }
  if (error.code === 'HOLDFAST_STATE') return { exitCode: ExitCode.resumeFile, line }
  return { exitCode: ExitCode.unreachable, line }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
