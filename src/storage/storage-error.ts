/** Storage errors in an operator's words, with what to do about them. */
import { OperatorError } from '../errors.ts'

const restore =
  'restore the data directory from a backup, or move it away and let replicas or clients refill it'

const remedies: readonly [RegExp, string, string][] = [
  [/MDB_MAP_FULL|mapsize limit/i, 'map-full', 'start with a larger --map-size'],
  [/ENOSPC|No space left|EDQUOT|quota exceeded/i, 'disk-full', 'free space on the data disk'],
  [/EFBIG|File too large/i, 'disk-full', 'raise the file size limit of the process'],
  [/EACCES|EPERM|EROFS|Permission denied|Read-only/i, 'not-writable', 'make it writable'],
  [
    /ENOTDIR|EEXIST|Not a directory|File exists/i,
    'no-directory',
    'name a directory, not a file, with --data',
  ],
  // LMDB says so too when the disk takes only a part of what it writes.
  [
    /EIO|Input\/output error/i,
    'disk-failing',
    'free space on the data disk; if there is enough, look for its errors in the system log',
  ],
  [
    /MDB_PANIC/,
    'disk-failing',
    'look for errors of the data disk in the system log, mend it, and start again',
  ],
  [/MDB_READERS_FULL|readers limit/i, 'readers-full', 'raise --reader-slots-max'],
  [
    /MDB_CORRUPTED|MDB_PAGE_NOTFOUND|MDB_INVALID|MDB_BAD_TXN|page not found|corrupt|not an LMDB/i,
    'store-damaged',
    restore,
  ],
  [/MDB_VERSION_MISMATCH|version mismatch/i, 'format-newer', 'start the version that wrote it'],
]

export function storeDamaged(message: string, cause?: unknown): OperatorError {
  return new OperatorError('store-damaged', message, restore, { cause })
}

/** What LMDB or the disk reported, as an error that a person can act upon. */
export function storageError(cause: unknown, directory: string): OperatorError {
  if (cause instanceof OperatorError) return cause
  const text = cause instanceof Error ? cause.message : String(cause)
  const remedy = remedies.find(([pattern]) => pattern.test(text))
  const [, code, hint] = remedy ?? [undefined, 'storage', 'see the cause in the log']
  return new OperatorError(code, `${directory}: ${text}`, hint, { cause })
}
