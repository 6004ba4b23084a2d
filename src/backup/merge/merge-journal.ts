import { z } from 'zod'
import { dataObjectSchema, decodeDocument, encodeDocument, sha256 } from '../archive/documents.ts'
import { BackupError } from '../errors.ts'
import type { ObjectStore } from '../store/object-store.ts'

/**
 * How far a merge is: an object in the backup that takes up the others, until it is committed. With it
 * a merge that was interrupted is gone on with.
 */
const mergeJournalSchema = z.strictObject({
  format: z.literal('holdfast-backup-merge'),
  version: z.literal(1),
  /** What is merged, oldest first: the SHA-256s of their manifests, by id. */
  backups: z.array(z.strictObject({ id: z.string(), manifest: sha256 })),
  /** That are done, as the manifest will have them. */
  objects: z.array(dataObjectSchema),
})
export type MergeJournal = z.infer<typeof mergeJournalSchema>

export async function putMergeJournal(
  store: ObjectStore,
  key: string,
  journal: Pick<MergeJournal, 'backups' | 'objects'>,
): Promise<void> {
  const head = { format: 'holdfast-backup-merge', version: 1 }
  await store.put(key, encodeDocument({ ...head, ...journal }))
}

/** The objects that an earlier run of the same merge has made; none of another one. */
export async function readMergeJournal(
  store: ObjectStore,
  key: string,
  backups: MergeJournal['backups'],
): Promise<MergeJournal['objects']> {
  const bytes = await store.get(key)
  if (!bytes) return []
  try {
    const journal = decodeDocument(mergeJournalSchema, bytes, key)
    return JSON.stringify(journal.backups) === JSON.stringify(backups) ? journal.objects : []
  } catch (error) {
    // Torn or altered: everything is done again.
    if (error instanceof BackupError) return []
    throw error
  }
}
