/**
 * One LMDB environment and its tables. A bucket is spread over several (vbucket modulo n), since
 * a pinned snapshot keeps every page freed since from being reused, in its environment.
 *
 * The same environment is opened by the main thread (reads), the flusher (the only writer once
 * the daemon runs) and the backfill worker (pinned reads); lmdb shares it within the process.
 */
import { statSync } from 'node:fs'
import { open, type RootDatabase, type Transaction } from 'lmdb'
import { OperatorError } from '../errors.ts'
import { dataFileOf, resizeDataFile } from './data-file.ts'
import type { EnvironmentFigures } from './flusher-messages.ts'
import { journalBytesMax } from './journal-format.ts'
import { collectionKeyEncoder, type CollectionKey } from './collection-record.ts'
import {
  expiryKeyEncoder,
  holdKeyEncoder,
  indexKeyEncoder,
  seqnoKeyEncoder,
  type ExpiryKey,
  type HoldKey,
  type IndexKey,
  type SeqnoKey,
} from './keys.ts'
import { storageError, storeDamaged } from './storage-error.ts'

export interface EnvironmentOptions {
  directory: string
  /** The most that it may hold; see `assertRoom`. */
  mapSizeBytes: number
  readerSlotsMax: number
  /** Make the tables. Else one that is missing means that the file is damaged. */
  create?: boolean
  /** Where the files are now, if they are going to be in `directory`: see online-compaction.ts. */
  openIn?: string | undefined
}

/**
 * LMDB, as lmdb builds it, grows a map that is full in the middle of a transaction. So that it
 * never has to, more is mapped than may be used: it costs addresses, not memory.
 */
const reservedBytesMax = 64 * 2 ** 30

/**
 * Addresses that all environments of a process may take. lmdb does not survive a map that fails
 * for want of them, so it is not tried; a process has twice as many, but not in one piece.
 */
const addressBytesMax = 64 * 2 ** 40
let mappedBytes = 0

/**
 * What a replay of a whole journal may add beyond the limit, which does not hold for it: a record in
 * pages of its own takes twice its length, and what a transaction changes is there twice.
 */
const replayedBytesMax = 4 * journalBytesMax

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
  getBinary(key: Key): Buffer | undefined
  /** In lmdb's reused buffer, valid until the next read; cut it to its `length` before use. */
  getBinaryFast(key: Key, options?: { transaction?: Transaction }): Buffer | undefined
  putSync(key: Key, value: Buffer): void
  removeSync(key: Key): void
  /** Removes everything. */
  clearSync(): void
  /** Values are in lmdb's reused buffer, valid until the next step. */
  getRange(range: Range<Key>): Iterable<{ key: Key; value: Buffer }>
  getKeys(range: Range<Key>): Iterable<Key>
  /** The table's own tree alone, in the read transaction of the moment: `getStats` counts all. */
  readonly db: { stat(): TreeStatistics }
}

interface Range<Key> {
  /** Needed where keys have an encoder of our own. */
  start?: Key
  /** Exclusive. */
  end?: Key
  limit?: number
  /** From `start` downwards. */
  reverse?: boolean
  transaction?: Transaction
}

export interface Environment {
  readonly directory: string
  readonly root: RootDatabase<Buffer, string>
  readonly index: Table<IndexKey>
  readonly blocks: Table<SeqnoKey>
  readonly superseded: Table<SeqnoKey>
  readonly tombstones: Table<SeqnoKey>
  readonly expiries: Table<ExpiryKey>
  readonly vbuckets: Table<number>
  readonly collections: Table<CollectionKey>
  readonly holds: Table<HoldKey>
  readonly meta: Table<string>
  pages(): EnvironmentPages
  /** How many entries each table has. */
  entries(): Record<string, number>
  /** Everything in the callback is one transaction; on return it is on disk (fdatasync). */
  write(work: () => void): void
  /** The next read sees the newest commit; call after another thread has committed. */
  refresh(): void
  /** A read transaction on the newest commit, held until its `done()`. */
  pin(): Transaction
  close(): Promise<void>
}

/** Pages in one table's tree, and what they hold. */
interface TreeStatistics {
  entryCount: number
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

/** Fails with an OperatorError. */
export function openEnvironment(options: EnvironmentOptions): Environment {
  const { directory, mapSizeBytes } = options
  const mapBytes = mapSizeBytes + Math.min(2 * mapSizeBytes, reservedBytesMax) + replayedBytesMax
  if (mappedBytes + mapBytes > addressBytesMax) {
    throw new OperatorError(
      'map-too-large',
      `${directory}: there are no addresses left for a map of ${mapBytes} bytes`,
      'start with a smaller --map-size',
    )
  }
  const root = openRoot(options, mapBytes)
  mappedBytes += mapBytes
  const close = async () => {
    mappedBytes -= mapBytes
    await root.close()
  }
  try {
    return { ...openTables(root, options), close }
  } catch (error) {
    void close()
    throw storageError(error, directory)
  }
}

/** What counts against the limit; all else is free pages, which LMDB takes before it grows. */
export interface RoomFigures {
  readonly liveBytes: number
  /** Kept from reuse by pinned snapshots. */
  readonly heldBytes: number
  /** To be written. */
  readonly neededBytes: number
}

export function hasRoom(limitBytes: number, figures: RoomFigures): boolean {
  return figures.liveBytes + figures.heldBytes + figures.neededBytes <= limitBytes
}

/** Fails with map-full when there is no room. */
export function assertRoom(directory: string, limitBytes: number, figures: RoomFigures): void {
  if (hasRoom(limitBytes, figures)) return
  const { liveBytes, heldBytes } = figures
  throw new OperatorError(
    'map-full',
    `${directory}: ${liveBytes} bytes are in use and ${heldBytes} held by pinned snapshots, ` +
      `the limit is ${limitBytes}`,
    'start with a larger --map-size',
  )
}

function openTables(
  root: RootDatabase<Buffer, string>,
  options: EnvironmentOptions,
): Omit<Environment, 'close'> {
  const { directory } = options
  const table = <Key>(name: string, keyEncoder?: unknown) => {
    const opened = root.openDB(name, {
      ...(keyEncoder ? { keyEncoder } : {}),
      encoder: inPlace,
      encoding: 'binary',
      create: options.create === true,
    } as never) as unknown as Table<Key> | undefined
    if (opened === undefined) throw storeDamaged(`${directory}: the table ${name} is missing`)
    return opened
  }
  const tables = {
    index: table<IndexKey>('index', indexKeyEncoder),
    blocks: table<SeqnoKey>('blocks', seqnoKeyEncoder),
    superseded: table<SeqnoKey>('superseded', seqnoKeyEncoder),
    tombstones: table<SeqnoKey>('tombstones', seqnoKeyEncoder),
    expiries: table<ExpiryKey>('expiries', expiryKeyEncoder),
    holds: table<HoldKey>('holds', holdKeyEncoder),
    vbuckets: table<number>('vbuckets'),
    collections: table<CollectionKey>('collections', collectionKeyEncoder),
    meta: table<string>('meta'),
  }
  const all = Object.values(tables)
  return {
    directory,
    root,
    ...tables,
    pages: () => pagesOf(root, all),
    entries: () =>
      Object.fromEntries(
        Object.entries(tables).map(([name, { db }]) => [name, db.stat().entryCount]),
      ),
    write(work) {
      root.transactionSync(() => {
        // LMDB begins no transaction any more once it could not write its header; lmdb goes on
        // without one, which would end the process.
        if (root.getWriteTxnId() === 0) throw new Error('MDB_PANIC: an earlier commit failed')
        work()
      }, 2)
      fillFile(root, directory)
    },
    refresh: () => root.resetReadTxn(),
    pin() {
      root.resetReadTxn()
      return root.useReadTransaction()
    },
  }
}

/** Slots for the unpinned reads of the threads of this process, beside those for snapshots. */
const ownReaders = 6

function openRoot(options: EnvironmentOptions, mapBytes: number): RootDatabase<Buffer, string> {
  const { directory, openIn = directory } = options
  try {
    return open<Buffer, string>({
      path: openIn,
      // A dot in the path would otherwise make lmdb take the directory for a file.
      noSubdir: false,
      maxDbs: 16,
      maxReaders: options.readerSlotsMax + ownReaders,
      mapSize: mapBytes,
      // A commit that has returned is on disk: the flusher is a thread of its own and may wait.
      overlappingSync: false,
      // The page count that tells how much a pinned snapshot keeps from reuse.
      trackMetrics: true,
      encoding: 'binary',
    } as never)
  } catch (cause) {
    throw storageError(cause, directory)
  }
}

/**
 * LMDB leaves out the end of its file when the pages there are free. Made as long as its header
 * says, a file that was cut is told from a whole one by its length.
 */
function fillFile(root: RootDatabase<Buffer, string>, directory: string): void {
  try {
    const { pageSize, lastPageNumber } = root.getStats() as unknown as RootStatistics
    const usedBytes = (lastPageNumber + 1) * pageSize
    if (statSync(dataFileOf(directory)).size < usedBytes) resizeDataFile(directory, usedBytes)
  } catch {
    // The commit stands. A limit on the size of files may forbid this; then the next start has
    // to look closer.
  }
}

/** Its figures in bytes. */
export function figuresOf(environment: Environment): EnvironmentFigures {
  const { pageSize, allocated, live, written } = environment.pages()
  return {
    allocatedBytes: allocated * pageSize,
    liveBytes: live * pageSize,
    writtenBytes: written * pageSize,
  }
}

function pagesOf(root: RootDatabase<Buffer, string>, tables: Pick<Table<unknown>, 'db'>[]) {
  const statistics = root.getStats() as unknown as RootStatistics
  let live = 2 + treePages(statistics.root) + treePages(statistics.free)
  for (const { db } of tables) live += treePages(db.stat())
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
