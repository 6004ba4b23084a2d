import { randomUUID } from 'node:crypto'
import {
  archiveSchema,
  backupSchema,
  decodeDocument,
  encodeDocument,
  manifestSchema,
  repositorySchema,
  sha256Of,
  type BackupDocument,
  type Manifest,
  type RepositoryDocument,
} from './archive/documents.ts'
import {
  archiveKey,
  BackupFile,
  backupNumberOf,
  backupPrefix,
  checkRepositoryName,
  repositoryKeyOf,
} from './archive/layout.ts'
import type { CompressionName } from './archive/compression.ts'
import {
  createRepositoryKey,
  manifestMac,
  openRepositoryKey,
  sameMac,
  type Secret,
} from './archive/repository-key.ts'
import { backupNamed } from './chain.ts'
import { BackupError, damaged } from './errors.ts'
import { forEachOf } from './lanes.ts'
import type { ObjectStore } from './store/object-store.ts'

export interface NewRepository {
  compression: CompressionName
  secret: Secret | undefined
  bucket: { name: string; uuid: string }
  nowMs: number
}

/** One line of a repository's list: a backup, complete or not. */
export interface ListedBackup {
  readonly id: string
  readonly number: number
  readonly state: BackupState
  /** Of a complete one. */
  readonly document: BackupDocument | undefined
}

export type BackupState =
  | 'complete'
  /** Begun, and to be resumed or purged. */
  | 'unfinished'
  /** The rest of one whose removal did not come to its end. */
  | 'removed'
  /** Its `backup.json` cannot be read. */
  | 'damaged'

/** To look is to wait for the store, mostly. */
const looksAtATime = 8

/** The backups of one bucket in an archive. */
export class Repository {
  readonly store: ObjectStore
  readonly name: string
  readonly document: RepositoryDocument

  private constructor(store: ObjectStore, name: string, document: RepositoryDocument) {
    this.store = store
    this.name = name
    this.document = document
  }

  /** Undefined if there is no such repository yet; an error if the place is something else. */
  static async find(store: ObjectStore, name: string): Promise<Repository | undefined> {
    checkRepositoryName(name)
    if (!(await readArchive(store))) return undefined
    const key = repositoryKeyOf(name)
    const bytes = await store.get(key)
    if (!bytes) return undefined
    return new Repository(store, name, decodeDocument(repositorySchema, bytes, key))
  }

  static async open(store: ObjectStore, name: string): Promise<Repository> {
    const found = await Repository.find(store, name)
    if (!found) throw new BackupError('missing', `there is no repository ${name} in ${store.url}`)
    return found
  }

  /** Makes it, and the archive around it if there is none; of two who try, both get the same. */
  static async create(
    store: ObjectStore,
    name: string,
    { compression, secret, bucket, nowMs }: NewRepository,
  ): Promise<Repository> {
    checkRepositoryName(name)
    const created = new Date(nowMs).toISOString()
    if (!(await readArchive(store))) {
      const archive = { format: 'holdfast-backup-archive', version: 1, id: randomUUID(), created }
      await store.putIfAbsent(archiveKey, encodeDocument(archive))
    }
    const id = randomUUID()
    const encryption = secret && (await createRepositoryKey(secret, id)).encryption
    const document: RepositoryDocument = {
      format: 'holdfast-backup-repository',
      version: 1,
      id,
      created,
      compression,
      ...(encryption ? { encryption } : {}),
      bucket,
    }
    await store.putIfAbsent(repositoryKeyOf(name), encodeDocument(document))
    return Repository.open(store, name)
  }

  static async names(store: ObjectStore): Promise<string[]> {
    if (!(await readArchive(store)))
      throw new BackupError('missing', `there is no archive in ${store.url}`)
    const names: string[] = []
    for (const name of await store.listFolders(''))
      if ((await store.size(repositoryKeyOf(name))) !== undefined) names.push(name)
    return names
  }

  /** The key of the data; undefined if it is not encrypted. To be asked before any work is done. */
  async openKey(secret: Secret | undefined): Promise<Buffer | undefined> {
    const { encryption, id } = this.document
    if (encryption) return await openRepositoryKey(secret, encryption, id)
    if (secret) throw new BackupError('key', `repository ${this.name} is not encrypted`)
    return undefined
  }

  /** All backups, oldest first. */
  async backups(): Promise<ListedBackup[]> {
    const listed: ListedBackup[] = []
    const ids = await this.store.listFolders(`${this.name}/`)
    await forEachOf(ids, looksAtATime, async id => {
      const number = backupNumberOf(id)
      if (number !== undefined) listed.push({ id, number, ...(await this.#look(id)) })
    })
    return listed.sort((one, other) => one.number - other.number || (one.id < other.id ? -1 : 1))
  }

  async #look(id: string): Promise<Pick<ListedBackup, 'state' | 'document'>> {
    try {
      const document = await this.backup(id)
      if (document) return { state: 'complete', document }
    } catch (error) {
      if (!(error instanceof BackupError) || error.code !== 'damaged') throw error
      return { state: 'damaged', document: undefined }
    }
    // The first that is put of a backup, and, of one that is dropped, the last that goes.
    const checkpoint = `${this.prefix(id)}${BackupFile.checkpoint}`
    const isUnfinished = (await this.store.size(checkpoint)) !== undefined
    return { state: isUnfinished ? 'unfinished' : 'removed', document: undefined }
  }

  /** Undefined if the backup is unfinished, or is not there at all. */
  async backup(id: string): Promise<BackupDocument | undefined> {
    const key = `${this.prefix(id)}${BackupFile.backup}`
    const bytes = await this.store.get(key)
    if (!bytes) return undefined
    const document = decodeDocument(backupSchema, bytes, key)
    if (document.id !== id) throw damaged(`${key} is that of another backup`)
    return document
  }

  /** The complete backup of that id or number; or all complete ones, oldest first. */
  async chosen(name: string | undefined): Promise<BackupDocument[]> {
    if (name === undefined) return (await this.backups()).flatMap(({ document }) => document ?? [])
    const found =
      backupNumberOf(name) === undefined
        ? backupNamed(await this.backups(), name).document
        : await this.backup(name)
    if (found) return [found]
    throw new BackupError('missing', `there is no complete backup ${name} in ${this.name}`)
  }

  /** Checked against what `backup.json` says of it; with the key, that nobody else made it. */
  async manifest(backup: BackupDocument, key: Uint8Array | undefined): Promise<Manifest> {
    const name = `${this.prefix(backup.id)}${manifestNameOf(backup)}`
    const bytes = await this.store.get(name)
    if (!bytes) throw damaged(`${name} is missing`)
    const { size, sha256, mac } = backup.manifest
    if (bytes.length !== size || sha256Of(bytes) !== sha256)
      throw damaged(`${name} is not the one that the backup was completed with`)
    if (key && (mac === undefined || !sameMac(manifestMac(key, bytes), mac)))
      throw damaged(`${name} was not made with the key of the repository`)
    return decodeDocument(manifestSchema, bytes, name)
  }

  /** The backups to be gone through for the documents as of `backup`: a full one first. */
  async chainTo(backup: BackupDocument): Promise<BackupDocument[]> {
    const chain = [backup]
    const seen = new Set([backup.id])
    for (let at = backup; at.type === 'incremental'; at = chain[0]!) {
      const previous = at.previous === undefined ? undefined : await this.backup(at.previous)
      if (!previous || seen.has(previous.id))
        throw damaged(`backup ${at.id} continues ${at.previous ?? 'nothing'}, which is not there`)
      seen.add(previous.id)
      chain.unshift(previous)
    }
    return chain
  }

  prefix(backupId: string): string {
    return backupPrefix(this.name, backupId)
  }
}

async function readArchive(store: ObjectStore) {
  const bytes = await store.get(archiveKey)
  return bytes && decodeDocument(archiveSchema, bytes, archiveKey)
}

/** Below the prefix of its backup. */
export function manifestNameOf({ manifest }: BackupDocument): string {
  return manifest.key ?? BackupFile.manifest
}

/** What `backup.json` says of a manifest, so that no other is taken for it. */
export function sealOf(manifest: Buffer, key: Uint8Array | undefined) {
  return {
    size: manifest.length,
    sha256: sha256Of(manifest),
    ...(key ? { mac: manifestMac(key, manifest) } : {}),
  }
}
