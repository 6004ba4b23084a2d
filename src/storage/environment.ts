/**
 * One LMDB environment and its tables. A bucket is spread over several (vbucket modulo n), since
 * a pinned snapshot keeps every page freed since from being reused, in its environment.
 *
 * The same environment is opened by the main thread (reads), the flusher (the only writer once
 * the daemon runs) and the backfill worker (pinned reads); lmdb shares it within the process.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { open, type RootDatabase, type Transaction } from 'lmdb'
import { OperatorError } from '../errors.ts'
import {
  documentKeyEncoder,
  expiryKeyEncoder,
  holdKeyEncoder,
  seqnoKeyEncoder,
  type DocumentKey,
  type ExpiryKey,
  type HoldKey,
  type SeqnoKey,
} from './keys.ts'

export interface EnvironmentOptions {
  directory: string
  mapSizeBytes: number
  readerSlotsMax: number
}

/** LMDB's own figures; pages are `pageSize` bytes. */
export interface EnvironmentPages {
  pageSize: number
  /** Pages of the file that have ever been used. */
  allocated: number
  /** Pages that hold something now. */
  live: number
  /** Pages written by this thread's transactions since it opened the environment. */
  written: number
  readers: number
}

/** What is used of an lmdb table; its own types know no keys with an encoder of their own. */
export interface Table<Key> {
  /** A copy. */
  getBinary(key: Key, options?: { transaction: Transaction }): Buffer | undefined
  /** In lmdb's reused buffer, valid until the next read; cut it to its `length` before use. */
  getBinaryFast(key: Key): Buffer | undefined
  putSync(key: Key, value: Buffer): void
  removeSync(key: Key): void
  /** Removes everything. */
  clearSync(): void
  /** Values are in lmdb's reused buffer, valid until the next step. */
  getRange(range: Range<Key>): Iterable<{ key: Key; value: Buffer }>
  getKeys(range: Range<Key>): Iterable<Key>
  getStats(): unknown
}

interface Range<Key> {
  /** Needed where keys have an encoder of our own. */
  start?: Key
  /** Exclusive. */
  end?: Key
  limit?: number
  transaction?: Transaction
}

export interface Environment {
  readonly directory: string
  readonly root: RootDatabase<Buffer, string>
  readonly documents: Table<DocumentKey>
  readonly records: Table<SeqnoKey>
  readonly tombstones: Table<SeqnoKey>
  readonly expiries: Table<ExpiryKey>
  readonly vbuckets: Table<number>
  readonly holds: Table<HoldKey>
  readonly meta: Table<string>
  pages(): EnvironmentPages
  /** Everything in the callback is one transaction; on return it is on disk (fsync). */
  write(work: () => void): void
  /** The next read sees the newest commit; call after another thread has committed. */
  refresh(): void
  /** A read transaction on the newest commit, held until its `done()`. */
  pin(): Transaction
  close(): Promise<void>
}

/** Pages in one table's tree. */
interface TreeStatistics {
  treeBranchPageCount: number
  treeLeafPageCount: number
  overflowPages: number
}
interface RootStatistics extends TreeStatistics {
  pageSize: number
  lastPageNumber: number
  pagesWritten: number
  numReaders: number
  root: TreeStatistics
  free: TreeStatistics
}

/**
 * Values stay in lmdb's reused buffer; whoever needs one longer copies it. That buffer has a
 * `length` property of its own that native code does not see, hence the view.
 */
const inPlace = {
  encode: (value: Buffer) => value,
  decode: (value: Buffer, length: number) => value.subarray(0, length),
  needsStableBuffer: false,
}

export function openEnvironment(options: EnvironmentOptions): Environment {
  const root = openRoot(options)
  const table = <Key>(name: string, keyEncoder?: unknown) =>
    root.openDB(name, {
      ...(keyEncoder ? { keyEncoder } : {}),
      encoder: inPlace,
      encoding: 'binary',
    } as never) as unknown as Table<Key>
  const tables = {
    documents: table<DocumentKey>('documents', documentKeyEncoder),
    records: table<SeqnoKey>('records', seqnoKeyEncoder),
    tombstones: table<SeqnoKey>('tombstones', seqnoKeyEncoder),
    expiries: table<ExpiryKey>('expiries', expiryKeyEncoder),
    holds: table<HoldKey>('holds', holdKeyEncoder),
    vbuckets: table<number>('vbuckets'),
    meta: table<string>('meta'),
  }
  const all = Object.values(tables)
  return {
    directory: options.directory,
    root,
    ...tables,
    pages: () => pagesOf(root, all),
    write(work) {
      root.transactionSync(work, 2)
    },
    refresh: () => root.resetReadTxn(),
    pin() {
      root.resetReadTxn()
      return root.useReadTransaction()
    },
    close: () => root.close(),
  }
}

function openRoot(options: EnvironmentOptions): RootDatabase<Buffer, string> {
  assertWholeFile(options.directory)
  try {
    return open<Buffer, string>({
      path: options.directory,
      // A dot in the path would otherwise make lmdb take the directory for a file.
      noSubdir: false,
      maxDbs: 16,
      maxReaders: options.readerSlotsMax,
      mapSize: options.mapSizeBytes,
      // A commit that has returned is on disk: the flusher is a thread of its own and may wait.
      overlappingSync: false,
      // The page count that tells how much a pinned snapshot keeps from reuse.
      trackMetrics: true,
      encoding: 'binary',
    } as never)
  } catch (cause) {
    throw storageError(cause, options.directory)
  }
}

/**
 * A data file shorter than its own header says has lost its end; touching the missing pages
 * would kill the process. Read from LMDB's two header pages before anything is mapped.
 */
function assertWholeFile(directory: string): void {
  const file = join(directory, 'data.mdb')
  const size = statSync(file, { throwIfNoEntry: false })?.size
  if (size === undefined || size === 0) return
  if (size < 8192) {
    throw new OperatorError(
      'store-damaged',
      `${file} has ${size} bytes, less than its header`,
      'restore the data directory from a backup',
    )
  }
}

function pagesOf(root: RootDatabase<Buffer, string>, tables: { getStats(): unknown }[]) {
  const statistics = root.getStats() as unknown as RootStatistics
  let live = 2 + treePages(statistics.root) + treePages(statistics.free)
  for (const table of tables) live += treePages(table.getStats() as TreeStatistics)
  return {
    pageSize: statistics.pageSize,
    allocated: statistics.lastPageNumber + 1,
    live,
    written: statistics.pagesWritten,
    readers: statistics.numReaders,
  }
}

function treePages(tree: TreeStatistics): number {
  return tree.treeBranchPageCount + tree.treeLeafPageCount + tree.overflowPages
}

const remedies: readonly [RegExp, string, string][] = [
  [/MDB_MAP_FULL|mapsize limit/i, 'map-full', 'start with a larger --map-size'],
  [/ENOSPC|No space left|EDQUOT|quota exceeded/i, 'disk-full', 'free space on the data disk'],
  [/EFBIG|File too large/i, 'disk-full', 'raise the file size limit of the process'],
  [/EACCES|EPERM|EROFS|Permission denied|Read-only/i, 'not-writable', 'make it writable'],
  [/MDB_READERS_FULL|readers limit/i, 'readers-full', 'raise --reader-slots-max'],
  [
    /MDB_CORRUPTED|MDB_PAGE_NOTFOUND|MDB_PANIC|MDB_INVALID|MDB_BAD_TXN|page not found|corrupt|not an LMDB|Input\/output error/i,
    'store-damaged',
    'restore the data directory from a backup, or move it away and let replicas or clients refill it',
  ],
  [/MDB_VERSION_MISMATCH|version mismatch/i, 'format-newer', 'start the version that wrote it'],
]

/** Says in an operator's words what LMDB or the disk reported, with what to do about it. */
export function storageError(cause: unknown, directory: string): OperatorError {
  if (cause instanceof OperatorError) return cause
  const text = cause instanceof Error ? cause.message : String(cause)
  const remedy = remedies.find(([pattern]) => pattern.test(text))
  const [, code, hint] = remedy ?? [undefined, 'storage', 'see the cause in the log']
  return new OperatorError(code, `${directory}: ${text}`, hint, { cause })
}
