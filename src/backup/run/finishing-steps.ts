import {
  decodeDocument,
  encodeDocument,
  manifestSchema,
  type BackupDocument,
  type DataObject,
  type Manifest,
} from '../archive/documents.ts'
import { BackupFile } from '../archive/layout.ts'
import { objectDigest } from '../archive/object-writer.ts'
import { sumOf } from '../archive/record-counts.ts'
import { sealOf } from '../repository.ts'
import { BackupError } from '../errors.ts'
import { sizeOf } from '../store/object-store.ts'
import { uploadsBelow } from '../store/uploads-below.ts'
import { forEachOf } from '../lanes.ts'
import { rebaseUpload } from './adoption.ts'
import { complete } from './completion.ts'
import type { BackupContext } from './context.ts'
import type { Journal, Journals, PackJournal, Plan } from './journal.ts'

/** To complete is to wait, mostly, and holds nothing in memory. */
const completionsPerThread = 4

/**
 * Makes objects of the uploads; answers with those whose upload the store has lost, by a rule of its
 * own perhaps: what they had has to be asked for again.
 */
export async function completeUploads(
  context: BackupContext,
  { vbuckets, packs }: Journals,
): Promise<(Journal | PackJournal)[]> {
  const lost: (Journal | PackJournal)[] = []
  const atATime = context.threads * completionsPerThread
  const journals = [...vbuckets.values(), ...packs.values()]
  await forEachOf(journals, atATime, async journal => {
    const isDone =
      'vbid' in journal
        ? await completeJournal(context, journal, context.keepJournal)
        : await completeJournal(context, journal, context.keepPack)
    if (!isDone) lost.push(journal)
  })
  return lost
}

async function completeJournal<Kept extends Journal | PackJournal>(
  context: BackupContext,
  journal: Kept,
  keep: (next: Kept) => Promise<void>,
): Promise<boolean> {
  const completion = await complete(context, journal.upload, journal.parts)
  if (completion !== 'strays') return completion === 'done'
  const next = await rebaseUpload(context, journal, keep)
  return next !== undefined && (await complete(context, next.upload, next.parts)) === 'done'
}

export interface StoredManifest {
  readonly manifest: Manifest
  readonly bytes: Buffer
}

/** Puts the list of all that belongs to the backup; answers with what was put. */
export async function putManifest(
  context: BackupContext,
  { vbuckets, packs }: Journals,
  { ends = [], collections }: Pick<Plan, 'ends' | 'collections'>,
): Promise<StoredManifest> {
  const { store, prefix, backupId } = context
  const byVbucket = (one: { vbid: number }, other: { vbid: number }) => one.vbid - other.vbid
  const own = [...vbuckets.values()].map(journal => objectOf(journal, prefix))
  const packed = [...packs.values()].flatMap(journal => objectsIn(journal, prefix))
  const manifest: Manifest = {
    format: 'holdfast-backup-manifest',
    version: packed.length > 0 ? 2 : 1,
    backup: backupId,
    objects: [...own, ...packed].sort(byVbucket),
    vbuckets: [...ends].sort(byVbucket),
    ...(collections ? { collections } : {}),
  }
  const bytes = encodeDocument(manifest)
  await store.put(`${prefix}${BackupFile.manifest}`, bytes)
  return { manifest, bytes }
}

/** What a run before this one has put. */
export async function readManifest({ store, prefix }: BackupContext): Promise<StoredManifest> {
  const key = `${prefix}${BackupFile.manifest}`
  const bytes = await store.get(key)
  if (!bytes) throw new BackupError('damaged', `${key} is missing`)
  return { manifest: decodeDocument(manifestSchema, bytes, BackupFile.manifest), bytes }
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

function objectsIn({ upload, objects }: PackJournal, prefix: string): DataObject[] {
  const key = upload.key.slice(prefix.length)
  return objects.map(({ offset, vbid, size, sha256, firstSeqno, lastSeqno, counts }) => ({
    key,
    offset,
    vbid,
    size,
    segments: 1,
    sha256: objectDigest([sha256]),
    firstSeqno,
    lastSeqno,
    counts,
  }))
}

const sweepRoundsMax = 10

/**
 * Drops uploads that a crash has left without anybody who knows them, and objects that the manifest
 * does not name. Of this backup only: its prefix ends with a slash.
 */
export async function sweep(context: BackupContext, { manifest }: StoredManifest): Promise<void> {
  const { store, prefix, threads } = context
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
export async function commit(
  context: BackupContext,
  plan: Plan,
  { manifest, bytes }: StoredManifest,
): Promise<BackupDocument> {
  const { store, prefix, repositoryKey, clock } = context
  const { objects, vbuckets } = manifest
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
