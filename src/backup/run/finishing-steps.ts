import {
  decodeDocument,
  encodeDocument,
  manifestSchema,
  type BackupDocument,
  type DataObject,
  type Manifest,
} from '../archive/documents.ts'
import { BackupFile } from '../archive/layout.ts'
import { objectDigest, sumOf } from '../archive/object-writer.ts'
import { sealOf } from '../repository.ts'
import { BackupError } from '../errors.ts'
import { sizeOf } from '../store/object-store.ts'
import { uploadsBelow } from '../store/uploads-below.ts'
import { forEachOf } from '../lanes.ts'
import { rebaseUpload } from './adoption.ts'
import { complete } from './completion.ts'
import type { BackupContext } from './context.ts'
import type { Journal, Plan } from './journal.ts'

/** To complete is to wait, mostly, and holds nothing in memory. */
const completionsPerThread = 4

/**
 * Makes objects of the uploads; answers with the vbuckets whose upload the store has lost, by a rule
 * of its own perhaps: what they had has to be asked for again.
 */
export async function completeUploads(
  context: BackupContext,
  journals: ReadonlyMap<number, Journal>,
): Promise<number[]> {
  const lost: number[] = []
  const atATime = context.threads * completionsPerThread
  await forEachOf([...journals.values()], atATime, async journal => {
    const { vbid, upload, parts } = journal
    let completion = await complete(context, upload, parts)
    if (completion === 'strays') {
      const next = await rebaseUpload(context, journal)
      completion = next ? await complete(context, next.upload, next.parts) : 'gone'
    }
    if (completion !== 'done') lost.push(vbid)
  })
  return lost
}

/** Puts the list of all that belongs to the backup. */
export async function putManifest(
  context: BackupContext,
  journals: ReadonlyMap<number, Journal>,
  { ends = [], collections }: Pick<Plan, 'ends' | 'collections'>,
): Promise<void> {
  const { store, prefix, backupId } = context
  const byVbucket = (one: { vbid: number }, other: { vbid: number }) => one.vbid - other.vbid
  const manifest: Manifest = {
    format: 'holdfast-backup-manifest',
    version: 1,
    backup: backupId,
    objects: [...journals.values()].sort(byVbucket).map(journal => objectOf(journal, prefix)),
    vbuckets: [...ends].sort(byVbucket),
    ...(collections ? { collections } : {}),
  }
  await store.put(`${prefix}${BackupFile.manifest}`, encodeDocument(manifest))
}

function objectOf(journal: Journal, prefix: string): DataObject {
  const { vbid, upload, parts, segments, firstSeqno, lastSeqno, counts } = journal
  return {
    key: upload.key.slice(prefix.length),
    vbid,
    size: sizeOf(parts),
    segments: segments.length,
    sha256: objectDigest(segments),
    firstSeqno,
    lastSeqno,
    counts,
  }
}

const sweepRoundsMax = 10

/**
 * Drops uploads that a crash has left without anybody who knows them, and objects that the manifest
 * does not name. Of this backup only: its prefix ends with a slash.
 */
export async function sweep(context: BackupContext): Promise<void> {
  const { store, prefix, threads } = context
  const manifest = await readManifest(context)
  const own = new Set<string>([...manifest.objects.map(({ key }) => key), BackupFile.manifest])
  for (let round = 0; ; round++) {
    const uploads = await uploadsBelow(store, prefix)
    if (uploads.length === 0) break
    if (round === sweepRoundsMax)
      throw new BackupError('store', `${uploads.length} uploads under ${prefix} do not go away`)
    context.report({ type: 'note', message: `${uploads.length} uploads nobody knows are dropped` })
    await forEachOf(uploads, threads, upload => store.abortUpload(upload))
  }
  for await (const { key } of store.list(prefix)) {
    const name = key.slice(prefix.length)
    // The checkpoint goes when the backup is complete.
    if (!own.has(name) && name !== BackupFile.checkpoint) await store.remove(key)
  }
}

/** Makes the backup a complete one. */
export async function commit(context: BackupContext, plan: Plan): Promise<BackupDocument> {
  const { store, prefix, repositoryKey, clock } = context
  const bytes = await manifestBytes(context)
  const { objects, vbuckets } = decodeDocument(manifestSchema, bytes, BackupFile.manifest)
  const document: BackupDocument = {
    format: 'holdfast-backup',
    version: 1,
    id: plan.backup,
    type: plan.type,
    ...(plan.previous === undefined ? {} : { previous: plan.previous }),
    started: plan.started,
    completed: new Date(clock.nowMs()).toISOString(),
    bucket: plan.bucket,
    vbuckets: vbuckets.length,
    counts: sumOf(objects.map(({ counts }) => counts)),
    storedBytes: sizeOf(objects),
    manifest: sealOf(bytes, repositoryKey),
  }
  await store.put(`${prefix}${BackupFile.backup}`, encodeDocument(document))
  return document
}

async function readManifest(context: BackupContext): Promise<Manifest> {
  return decodeDocument(manifestSchema, await manifestBytes(context), BackupFile.manifest)
}

async function manifestBytes({ store, prefix }: BackupContext): Promise<Buffer> {
  const key = `${prefix}${BackupFile.manifest}`
  const bytes = await store.get(key)
  if (!bytes) throw new BackupError('damaged', `${key} is missing`)
  return bytes
}
