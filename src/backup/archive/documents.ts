import { createHash } from 'node:crypto'
import { z } from 'zod'
import { BackupError } from '../errors.ts'
import { Compression, type CompressionName } from './compression-name.ts'
import { encryptionSchema } from './repository-key.ts'

/*
 * The archive's JSON documents. Each says its format and version; one that is of another is refused
 * before anything else of it is looked at. 64-bit numbers that may use all their bits are strings.
 */

export const count = z.int().min(0)
const vbid = z.int().min(0).max(0xffff)
const time = z.iso.datetime()
export const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const uint64 = z
  .string()
  .regex(/^\d{1,20}$/)
  .refine(text => BigInt(text) < 2n ** 64n)

function headed<Format extends string, Shape extends z.ZodRawShape>(format: Format, shape: Shape) {
  return z.strictObject({ format: z.literal(format), version: z.literal(1), ...shape })
}

/** `archive.json`: this place is an archive. */
export const archiveSchema = headed('holdfast-backup-archive', { id: z.uuid(), created: time })
export type ArchiveDocument = z.infer<typeof archiveSchema>

/** `REPOSITORY/repository.json`: what all backups of a repository have in common. */
export const repositorySchema = headed('holdfast-backup-repository', {
  id: z.uuid(),
  created: time,
  compression: z.enum(Object.keys(Compression) as [CompressionName, ...CompressionName[]]),
  encryption: encryptionSchema.optional(),
  bucket: z.strictObject({ name: z.string(), uuid: z.string() }),
})
export type RepositoryDocument = z.infer<typeof repositorySchema>

const counts = z.strictObject({
  mutation: count,
  deletion: count,
  expiration: count,
  documentBytes: count,
})

export const dataObjectSchema = z.strictObject({
  /** Below the backup's own prefix. */
  key: z.string(),
  /** Where in the stored object it begins: that is a pack, which has others, too. Without it, it is all of it. */
  offset: count.optional(),
  vbid,
  size: count,
  segments: count,
  /** Of the SHA-256s of the segments. */
  sha256,
  firstSeqno: count,
  lastSeqno: count,
  counts,
})
export type DataObject = z.infer<typeof dataObjectSchema>

export const positionSchema = z.strictObject({
  vbid,
  vbuuid: uint64,
  failoverLog: z.array(z.strictObject({ vbuuid: uint64, seqno: count })).readonly(),
  /** Every change up to here is in this backup or in those before it. */
  seqno: count,
  snapshotStart: count,
  snapshotEnd: count,
  purgeSeqno: count.optional(),
})
export type VbucketPosition = z.infer<typeof positionSchema>

const hexadecimal = z.string().regex(/^[0-9a-f]{1,16}$/)
const named = { name: z.string(), uid: hexadecimal }

/** The scopes and collections of a bucket, as its server told them. */
export const collectionsSchema = z.strictObject({
  uid: hexadecimal,
  scopes: z
    .array(
      z.strictObject({
        ...named,
        collections: z.array(z.strictObject({ ...named, maxTTL: count.optional() })).readonly(),
      }),
    )
    .readonly(),
})
export type BackupCollections = z.infer<typeof collectionsSchema>

/** `REPOSITORY/BACKUP/manifest.json`: what belongs to a backup, and nothing else does. */
export const manifestSchema = z.strictObject({
  format: z.literal('holdfast-backup-manifest'),
  /** 2 if there are packs: who knows only 1 would take a pack for one data object. */
  version: z.literal([1, 2]),
  backup: z.string(),
  objects: z.array(dataObjectSchema),
  vbuckets: z.array(positionSchema),
  /**
   * What there was when the last vbucket had come to its end. Records of other collections are of
   * such as had been dropped by then. Missing: there is nothing but the default collection.
   */
  collections: collectionsSchema.optional(),
})
export type Manifest = z.infer<typeof manifestSchema>

/** `REPOSITORY/BACKUP/backup.json`, written last: with it the backup is complete. */
export const backupSchema = headed('holdfast-backup', {
  id: z.string(),
  type: z.enum(['full', 'incremental']),
  /** The backup that an incremental one continues. */
  previous: z.string().optional(),
  started: time,
  completed: time,
  bucket: z.strictObject({ name: z.string(), uuid: z.string() }),
  vbuckets: count,
  counts,
  /** Of all data objects. */
  storedBytes: count,
  /** Ids of backups that it has taken up. */
  merged: z.array(z.string()).optional(),
  manifest: z.strictObject({
    /** Below the backup's prefix; `manifest.json` if it is not said. */
    key: z.string().optional(),
    size: count,
    sha256,
    mac: sha256.optional(),
  }),
})
export type BackupDocument = z.infer<typeof backupSchema>

/** The document as it is stored. */
export function encodeDocument(document: object): Buffer {
  return Buffer.from(`${JSON.stringify(document, null, 1)}\n`)
}

/** Checks everything; `where` is named in the error. */
export function decodeDocument<Schema extends z.ZodType>(
  schema: Schema,
  bytes: Uint8Array,
  where: string,
): z.infer<Schema> {
  let content: unknown
  try {
    content = JSON.parse(Buffer.from(bytes).toString())
  } catch (cause) {
    throw new BackupError('damaged', `${where} is no JSON`, { cause })
  }
  const result = schema.safeParse(content)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const path = issue!.path.join('.')
  if (path === 'format' || path === 'version' || path === '')
    throw new BackupError('format', `${where} is of a format or version unknown here`)
  throw new BackupError('damaged', `${where}: ${path}: ${issue!.message}`)
}

/** In hexadecimal digits. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
