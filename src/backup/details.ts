import {
  decodeDocument,
  type BackupCollections,
  type DataObject,
  type VbucketPosition,
} from './archive/documents.ts'
import { BackupFile } from './archive/layout.ts'
import { sumOf, type RecordCounts } from './archive/record-counts.ts'
import { isDamage } from './errors.ts'
import type { ListedBackup, Repository } from './repository.ts'
import { checkpointSchema, stepNames } from './run/journal.ts'
import { sizeOf } from './store/object-store.ts'

/** What of a complete backup its manifest alone tells. No key is needed for it. */
export interface BackupDetails {
  readonly objects: number
  readonly segments: number
  /** The first that it has of any vbucket, the last one, and of all vbuckets together how many there were. */
  readonly seqnos: { readonly first: number; readonly last: number; readonly sum: number }
  /** Undefined if nothing but the default collection was backed up. */
  readonly collections: BackupCollections | undefined
  readonly vbuckets: readonly VbucketDetails[]
}

/** Where a vbucket is at the end of a backup, and what the backup has of it, if it has changed. */
export type VbucketDetails = VbucketPosition & {
  readonly object: Omit<DataObject, 'vbid'> | undefined
}

/** How far one is that is not complete, by the last checkpoint in the archive. */
export interface UnfinishedDetails {
  readonly type: 'full' | 'incremental'
  readonly previous: string | undefined
  readonly started: string
  /** That have worked on it. */
  readonly runs: number
  readonly steps: readonly string[]
  readonly nextStep: string | undefined
  /** Of which something is in the archive. */
  readonly vbuckets: number
  readonly counts: RecordCounts
  readonly storedBytes: number
}

/** Undefined if the manifest cannot be read: `verify` says why. */
export async function detailsOf(
  repository: Repository,
  { document }: ListedBackup,
): Promise<BackupDetails | undefined> {
  if (!document) return undefined
  const manifest = await unlessDamaged(() => repository.manifest(document, undefined))
  if (!manifest) return undefined
  const { objects, vbuckets, collections } = manifest
  const objectOf = new Map(objects.map(({ vbid, ...object }) => [vbid, object]))
  return {
    objects: objects.length,
    segments: objects.reduce((sum, { segments }) => sum + segments, 0),
    seqnos: {
      first: objects.length === 0 ? 0 : Math.min(...objects.map(({ firstSeqno }) => firstSeqno)),
      last: Math.max(0, ...vbuckets.map(({ seqno }) => seqno)),
      sum: vbuckets.reduce((sum, { seqno }) => sum + seqno, 0),
    },
    collections,
    vbuckets: vbuckets.map(position => ({ ...position, object: objectOf.get(position.vbid) })),
  }
}

/** Undefined if there is no checkpoint that can be read. */
export async function unfinishedDetailsOf(
  repository: Repository,
  { id }: ListedBackup,
): Promise<UnfinishedDetails | undefined> {
  const key = `${repository.prefix(id)}${BackupFile.checkpoint}`
  const bytes = await repository.store.get(key)
  if (!bytes) return undefined
  const checkpoint = await unlessDamaged(() => decodeDocument(checkpointSchema, bytes, key))
  if (!checkpoint) return undefined
  const { plan, journals, packs } = checkpoint
  const { type, previous, started, runs, steps } = plan
  const own = journals.map(({ counts, parts }) => ({ counts, size: sizeOf(parts) }))
  const stored = [...own, ...packs.flatMap(({ objects }) => objects)]
  return {
    type,
    previous,
    started,
    runs,
    steps,
    nextStep: stepNames.find(step => !steps.includes(step)),
    vbuckets: stored.length,
    counts: sumOf(stored.map(({ counts }) => counts)),
    storedBytes: sizeOf(stored),
  }
}

async function unlessDamaged<T>(read: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await read()
  } catch (error) {
    if (isDamage(error)) return undefined
    throw error
  }
}
