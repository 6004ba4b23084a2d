/**
 * Looks at an LMDB data file before LMDB maps it: LMDB trusts its two header pages, and what they
 * point to outside the file ends the process with SIGBUS instead of an error.
 *
 * A header page, little-endian (page 0 is written by even transactions, page 1 by odd ones; the
 * greater transaction counts):
 *
 *   byte 0    page number u64                  byte 40   map size u64
 *        18   page flags u16, 8 is a header         48   page size u32
 *        24   magic 0xbeefc0de u32                  54   depth of the free tree u16, 88 its root u64
 *        28   version u32, of which the low 16      102  depth of the main tree u16, 136 its root u64
 *             bits count                            144  last page u64
 *                                                   152  transaction u64
 */
import { closeSync, ftruncateSync, openSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { OperatorError } from '../errors.ts'
import { storageError, storeDamaged } from './storage-error.ts'

const headerBytes = 168
const magic = 0xbeefc0de
const version = 2
const headerFlag = 8
const depthMax = 32
const noPage = 2n ** 64n - 1n

interface Header {
  pageSize: number
  mapSize: bigint
  lastPage: bigint
  transaction: bigint
}

export interface DataFile {
  sizeBytes: number
  /**
   * As many bytes as the header says are in use. LMDB does not write pages at the end that were
   * freed again at once, so that a file which is shorter may yet be whole.
   */
  usedBytes: number
}

export function dataFileOf(directory: string): string {
  return join(directory, 'data.mdb')
}

/** Fails with an OperatorError when LMDB must not open it; undefined when there is none yet. */
export function inspectDataFile(directory: string): DataFile | undefined {
  const path = dataFileOf(directory)
  const sizeBytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (sizeBytes === 0) return undefined
  const file = openSync(path, 'r')
  try {
    const first = readHeader(file, path, 0, 0)
    const second = readHeader(file, path, 1, first.pageSize)
    const newest = newestOf(path, first, second)
    return { sizeBytes, usedBytes: Number(newest.lastPage + 1n) * newest.pageSize }
  } finally {
    closeSync(file)
  }
}

/** Makes the file as long as its header says, with zeros; LMDB takes a page of zeros for damage. */
export function resizeDataFile(directory: string, sizeBytes: number): void {
  try {
    const file = openSync(dataFileOf(directory), 'r+')
    try {
      ftruncateSync(file, sizeBytes)
    } finally {
      closeSync(file)
    }
  } catch (error) {
    throw storageError(error, directory)
  }
}

function readHeader(file: number, path: string, page: 0 | 1, offset: number): Header {
  const bytes = Buffer.alloc(headerBytes)
  if (readSync(file, bytes, 0, headerBytes, offset) < headerBytes) {
    throw damaged(path, 'it ends within its header')
  }
  const isHeader = bytes.readUInt16LE(18) === headerFlag && bytes.readUInt32LE(24) === magic
  if (!isHeader) throw damaged(path, `page ${page} is no header of LMDB`)
  const found = bytes.readUInt32LE(28) & 0xffff
  if (found !== version) {
    const text = `${path} has version ${found} of LMDB's format, this one reads ${version}`
    throw new OperatorError('format-newer', text, 'start the version of holdfastd that wrote it')
  }
  const header: Header = {
    mapSize: bytes.readBigUInt64LE(40),
    pageSize: bytes.readUInt32LE(48),
    lastPage: bytes.readBigUInt64LE(144),
    transaction: bytes.readBigUInt64LE(152),
  }
  const { pageSize, lastPage, mapSize, transaction } = header
  const isSound =
    Number(bytes.readBigUInt64LE(0)) === page &&
    pageSize >= 512 &&
    pageSize <= 65_536 &&
    (pageSize & (pageSize - 1)) === 0 &&
    (lastPage + 1n) * BigInt(pageSize) <= mapSize &&
    (transaction === 0n || Number(transaction & 1n) === page) &&
    isTree(bytes.readUInt16LE(54), bytes.readBigUInt64LE(88), lastPage) &&
    isTree(bytes.readUInt16LE(102), bytes.readBigUInt64LE(136), lastPage)
  if (!isSound) throw damaged(path, `its header in page ${page} contradicts itself`)
  return header
}

function isTree(depth: number, root: bigint, lastPage: bigint): boolean {
  if (depth === 0) return root === noPage
  return depth <= depthMax && root >= 2n && root <= lastPage
}

function newestOf(path: string, first: Header, second: Header): Header {
  const [older, newer] = first.transaction > second.transaction ? [second, first] : [first, second]
  const distance = newer.transaction - older.transaction
  const agree = first.pageSize === second.pageSize && older.lastPage <= newer.lastPage
  if (distance > 1n || !agree) throw damaged(path, 'its two headers contradict each other')
  return newer
}

function damaged(path: string, what: string): OperatorError {
  return storeDamaged(`${path}: ${what}`)
}
