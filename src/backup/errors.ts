/** Stable and documented in `docs/backup.md`: what scripts should look at. */
export type BackupErrorCode =
  /** What was read from the archive is not what was written. */
  | 'damaged'
  /** Of a format or version that this program does not know, or no archive at all. */
  | 'format'
  /** The key or passphrase is missing, or is another one. */
  | 'key'
  /** Another tool is at work in the repository. */
  | 'locked'
  /** The store cannot be read or written. */
  | 'store'
  /** The staging folder cannot be read or written. */
  | 'staging'
  /** The bucket does not take, or does not give, what has to be moved. */
  | 'refused'
  /** There is no such repository or backup. */
  | 'missing'
  /** The last backup is unfinished: resume it or purge it. */
  | 'unfinished'
  /** The bucket's history is not the one of the last backup. */
  | 'rollback'
  /** Not the bucket, or not the settings, that the repository was made for. */
  | 'mismatch'
  /** Other backups continue what was to be removed. */
  | 'chain'
  /** Stopped on request, everything kept that a resume needs. */
  | 'interrupted'

/** The base of everything that a backup tool tells a person. */
export class BackupError extends Error {
  readonly code: BackupErrorCode
  /** Whether the same may succeed a little later: the store is busy, or cannot be reached. */
  readonly mayPass: boolean
  constructor(
    code: BackupErrorCode,
    message: string,
    options: ErrorOptions & { mayPass?: boolean } = {},
  ) {
    super(message, options)
    this.name = 'BackupError'
    this.code = code
    this.mayPass = options.mayPass ?? false
  }
}

/** Whether what was read is not what was written, or nothing that this program knows. */
export function isDamage(error: unknown): error is BackupError {
  return error instanceof BackupError && (error.code === 'damaged' || error.code === 'format')
}

export function damaged(what: string, cause?: unknown): BackupError {
  return new BackupError('damaged', what, { cause })
}
