import { vbucketOf } from '../../../protocol/key-hash.ts'
import { defaultCollectionPath, parseCollectionPath, pathText } from '../../client/index.ts'
import type {
  BackupCollections,
  BackupDocument,
  DataObject,
  Manifest,
} from '../archive/documents.ts'
import { IndexedObject } from '../archive/indexed-object.ts'
import { keyHashOf, mayHaveKey } from '../archive/key-filter.ts'
import type { ArchiveRecord } from '../archive/record.ts'
import type { Secret } from '../archive/repository-key.ts'
import { bytesOfObject, keyOfObject, objectError, type ReadableBackup } from '../data-object.ts'
import { BackupError } from '../errors.ts'
import { Repository } from '../repository.ts'
import type { ObjectStore } from '../store/object-store.ts'

export interface ExamineOptions {
  store: ObjectStore
  repository: string
  /** Of the document, without a collection's prefix. */
  key: Uint8Array
  /** Its name, `scope.collection`, or its id; the default collection by default. */
  collection?: string | number
  /** By id or number, only this backup; all complete ones by default. */
  backup?: string | undefined
  secret?: Secret | undefined
  signal: AbortSignal
  /** Called for each version that a backup has, oldest first. */
  found: (version: DocumentVersion) => Promise<void>
}

export interface DocumentVersion {
  readonly backup: BackupDocument
  readonly vbid: number
  readonly record: ArchiveRecord
}

export interface ExamineResult {
  /** That were looked at. */
  backups: number
  versions: number
  /** Of data objects. */
  bytesRead: number
}

const defaultCollection = 0

/**
 * The history of one document through a repository: every version that its backups have. Of each
 * object of the document's vbucket the indexes are read, and the blocks that may have the key.
 */
export async function examine(options: ExamineOptions): Promise<ExamineResult> {
  const { signal, found } = options
  const repository = await Repository.open(options.store, options.repository)
  const key = await repository.openKey(options.secret)
  const result: ExamineResult = { backups: 0, versions: 0, bytesRead: 0 }
  const wanted = options.collection ?? defaultCollection
  let isKnown = false
  for (const backup of await repository.chosen(options.backup)) {
    result.backups++
    const manifest = await repository.manifest(backup, key)
    const collectionId = typeof wanted === 'number' ? wanted : idOf(wanted, manifest.collections)
    if (collectionId === undefined) continue
    isKnown = true
    for (const object of objectsWith(options.key, manifest)) {
      signal.throwIfAborted()
      const readable = { repository, backupId: backup.id, key }
      const document = { key: options.key, collectionId }
      const { versions, bytesRead } = await versionsIn(readable, object, document)
      result.bytesRead += bytesRead
      for (const record of versions) {
        result.versions++
        await found({ backup, vbid: object.vbid, record })
      }
    }
  }
  if (!isKnown && result.backups > 0)
    throw new BackupError('missing', `there is no collection ${wanted} in ${repository.name}`)
  return result
}

/** Undefined if there was no such collection then; it may have had another id before. */
function idOf(name: string, collections: BackupCollections | undefined): number | undefined {
  const path = parseCollectionPath(name)
  if (!collections) return pathText(path) === defaultCollectionPath ? defaultCollection : undefined
  const scope = collections.scopes.find(({ name }) => name === path.scope)
  const uid = scope?.collections.find(({ name }) => name === path.collection)?.uid
  return uid === undefined ? undefined : parseInt(uid, 16)
}

/** Of a backup that has not all vbuckets, nobody knows how many there were: all are looked at. */
function objectsWith(key: Uint8Array, { vbuckets, objects }: Manifest): DataObject[] {
  const count = vbuckets.length
  const hasAll = vbuckets.every(({ vbid }) => vbid < count) && (count & (count - 1)) === 0
  if (!hasAll || count === 0) return objects
  const vbid = vbucketOf(key, count)
  return objects.filter(object => object.vbid === vbid)
}

async function versionsIn(
  backup: ReadableBackup,
  object: DataObject,
  { key, collectionId }: { key: Uint8Array; collectionId: number },
): Promise<{ versions: ArchiveRecord[]; bytesRead: number }> {
  const hash = keyHashOf(collectionId, key)
  const name = keyOfObject(backup, object)
  try {
    const indexed = await IndexedObject.open({
      read: range => bytesOfObject(backup, object, range),
      size: object.size,
      vbid: object.vbid,
      repositoryKey: backup.key,
    })
    const versions: ArchiveRecord[] = []
    for await (const entries of indexed.indexes())
      for (const entry of entries.filter(({ keyFilter }) => mayHaveKey(keyFilter, hash)))
        for (const record of await indexed.records(entry))
          if (record.collectionId === collectionId && record.key.equals(key)) versions.push(record)
    // Segments come from the last to the first.
    versions.sort((one, other) => one.seqno - other.seqno)
    return { versions, bytesRead: indexed.bytesRead }
  } catch (error) {
    throw objectError(name, error)
  }
}
