import { z } from 'zod'
import {
  collectionsSchema,
  count,
  positionSchema,
  sha256,
  type VbucketPosition,
} from '../archive/documents.ts'

const uploadSchema = z.strictObject({ key: z.string(), id: z.string(), token: z.string() })

const countsSchema = z.strictObject({
  mutation: count,
  deletion: count,
  expiration: count,
  documentBytes: count,
})

const partSchema = z.strictObject({
  number: z.int().min(1),
  size: z.int().min(1),
  etag: z.string(),
})

/**
 * How far the backup of one vbucket is: what is safe in the store, and from where on changes have to
 * be asked for. There is one from the first part on that the store has.
 */
export const journalSchema = z.strictObject({
  format: z.literal('holdfast-backup-journal'),
  version: z.literal(1),
  backup: z.string(),
  vbid: z.int().min(0),
  upload: uploadSchema,
  parts: z.array(partSchema).min(1),
  /** SHA-256 of each segment. A part is one, or many that were copied together. */
  segments: z.array(z.string()).min(1),
  /** Of the object's key, base64. */
  salt: z.string(),
  firstSeqno: count,
  lastSeqno: count,
  counts: countsSchema,
  /** Every change up to here is in the parts. */
  position: positionSchema,
})
export type Journal = z.infer<typeof journalSchema>

/** The data object of a small vbucket, all of it, in a pack. */
const packedSchema = z.strictObject({
  vbid: z.int().min(0),
  /** In the pack. */
  offset: count,
  size: z.int().min(1),
  /** Of its only segment. */
  sha256,
  firstSeqno: count,
  lastSeqno: count,
  counts: countsSchema,
  position: positionSchema,
})
export type PackedObject = z.infer<typeof packedSchema>

/** A pack: which vbuckets are safe in it. Each part has some of them, from beginning to end. */
export const packJournalSchema = z.strictObject({
  format: z.literal('holdfast-backup-pack-journal'),
  version: z.literal(1),
  backup: z.string(),
  number: count,
  upload: uploadSchema,
  parts: z.array(partSchema).min(1),
  objects: z.array(packedSchema).min(1),
})
export type PackJournal = z.infer<typeof packJournalSchema>

/** What the store has of a backup that is under way, by vbucket and by number of the pack. */
export interface Journals {
  readonly vbuckets: Map<number, Journal>
  readonly packs: Map<number, PackJournal>
}

/** Where each vbucket is that has anything in the store. */
export function journalledPositions({ vbuckets, packs }: Journals): Map<number, VbucketPosition> {
  const positions = new Map<number, VbucketPosition>()
  for (const { objects } of packs.values())
    for (const { vbid, position } of objects) positions.set(vbid, position)
  for (const { vbid, position } of vbuckets.values()) positions.set(vbid, position)
  return positions
}

/** Of plans and checkpoints: 1 knew no packs, and who knows only 1 refuses those with them. */
const version = 2

export const stepNames = ['stream', 'complete', 'manifest', 'sweep', 'commit'] as const
export type StepName = (typeof stepNames)[number]

/** What a run of a backup has to know of those before it. */
export const planSchema = z.strictObject({
  format: z.literal('holdfast-backup-plan'),
  version: z.literal([1, version]),
  backup: z.string(),
  repository: z.uuid(),
  type: z.enum(['full', 'incremental']),
  previous: z.string().optional(),
  started: z.iso.datetime(),
  bucket: z.strictObject({ name: z.string(), uuid: z.string() }),
  /** How many runs have worked on it: who has seen more of them knows better. */
  runs: count,
  /** Done, in their order. */
  steps: z.array(z.enum(stepNames)),
  /** Where the last backup left each vbucket. */
  positions: z.array(positionSchema),
  /** Where each vbucket's stream came to its end, once all have. */
  ends: z.array(positionSchema).optional(),
  /** And the vbuckets and packs that have a journal then. */
  uploads: z.array(count).optional(),
  packs: z.array(count).optional(),
  /** Once streaming is done. */
  collections: collectionsSchema.optional(),
})
export type Plan = z.infer<typeof planSchema>

/** All of it in one object under the backup's prefix, for whoever has lost the staging folder. */
export const checkpointSchema = z.strictObject({
  format: z.literal('holdfast-backup-checkpoint'),
  version: z.literal([1, version]),
  plan: planSchema,
  journals: z.array(journalSchema),
  packs: z.array(packJournalSchema).default([]),
})
export type Checkpoint = z.infer<typeof checkpointSchema>
