import type { DataObject } from './archive/documents.ts'
import { ObjectReader } from './archive/object-reader.ts'
import type { ArchiveRecord } from './archive/record.ts'
import { countRecord, noRecords } from './archive/record-counts.ts'
import { BackupError, damaged } from './errors.ts'
import type { Repository } from './repository.ts'
import type { ByteRange } from './store/object-store.ts'

/** The archive, one of its backups, and the key if it is encrypted. */
export interface ReadableBackup {
  readonly repository: Repository
  readonly backupId: string
  readonly key: Uint8Array | undefined
}

export function keyOfObject({ repository, backupId }: ReadableBackup, object: DataObject): string {
  return `${repository.prefix(backupId)}${object.key}`
}

/** Bytes of a data object, or all of them; one in a pack is a piece of what is stored. */
export function bytesOfObject(
  backup: ReadableBackup,
  object: DataObject,
  range?: ByteRange,
): AsyncIterable<Buffer> {
  const { store } = backup.repository
  const key = keyOfObject(backup, object)
  const { offset, size } = object
  if (offset === undefined) return store.read(key, range)
  const { start, end } = range ?? { start: 0, end: size }
  return store.read(key, { start: offset + start, end: offset + end })
}

/** Whether what is stored can have all of a data object. */
export function hasSizeFor({ offset, size }: DataObject, storedSize: number): boolean {
  return offset === undefined ? storedSize === size : storedSize >= offset + size
}

/** The error that came of reading an object, with its name; one that is not there is damage, too. */
export function objectError(key: string, error: unknown): unknown {
  if (error instanceof BackupError && error.code === 'missing')
    return damaged(`${key} is missing`, error)
  if (error instanceof BackupError && error.code !== 'store')
    error.message = `${key}: ${error.message}`
  return error
}

/** The records of an object, a block at a time; at the end it is checked against the manifest. */
export async function* readBlocks(
  backup: ReadableBackup,
  object: DataObject,
): AsyncGenerator<ArchiveRecord[], void> {
  const key = keyOfObject(backup, object)
  const reader = new ObjectReader(bytesOfObject(backup, object), backup.key)
  const seen = { ...noRecords }
  try {
    for await (const records of reader.blocks()) {
      for (const { kind, key, value } of records) countRecord(seen, kind, key.length + value.length)
      yield records
    }
  } catch (error) {
    throw objectError(key, error)
  }
  const { vbid, size, segments, sha256, lastSeqno } = reader.summary!
  const fits =
    vbid === object.vbid &&
    size === object.size &&
    segments === object.segments &&
    sha256 === object.sha256 &&
    lastSeqno === object.lastSeqno &&
    Object.entries(seen).every(
      ([name, count]) => object.counts[name as keyof typeof seen] === count,
    )
  if (!fits) throw damaged(`${key} is not the object that the manifest tells of`)
}
