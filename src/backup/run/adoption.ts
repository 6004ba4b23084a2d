import { randomUUID } from 'node:crypto'
import type { ByteRange, Part, Upload } from '../store/object-store.ts'
import type { BackupContext, ResumeAction } from './context.ts'
import type { Journal } from './journal.ts'
import { sizeOf } from './vbucket-upload.ts'

export interface Adoption {
  readonly action: ResumeAction
  readonly reason: string
  /** What to go on from; undefined: from the beginning. */
  readonly journal: Journal | undefined
}

/**
 * Settles what can be made of the upload that an interrupted run has left, of a vbucket that has more
 * to come. A store takes no part below a certain size but as the last one, and a vbucket's end
 * is just such a part: so what is there becomes the beginning of a new upload.
 */
export async function adopt(context: BackupContext, journal: Journal): Promise<Adoption> {
  const { store } = context
  const { upload, parts } = journal
  const size = sizeOf(parts)
  const { partBytesMin } = store.limits
  const found = await store.listParts(upload)
  if (!found) {
    if (await store.isCompleted(upload, size))
      return await rebase(context, journal, size, 'the object was completed by the last run')
    return restart('the upload is gone from the store')
  }
  const isWhole = parts.every((part, index) => samePart(part, found[index]))
  if (!isWhole) {
    await store.abortUpload(upload)
    return restart('the store has not the parts that the journal tells of')
  }
  if (parts.at(-1)!.size >= partBytesMin)
    return { action: 'go-on', reason: `behind part ${parts.length}`, journal }
  if (size < partBytesMin) {
    await store.abortUpload(upload)
    return restart(`${size} bytes are too few to be gone on with`)
  }
  await complete(context, upload, parts, size)
  return await rebase(
    context,
    journal,
    size,
    'its last part is too small to be followed by another',
  )
}

function restart(reason: string): Adoption {
  return { action: 'restart', reason, journal: undefined }
}

async function complete(
  { store }: BackupContext,
  upload: Upload,
  parts: readonly Part[],
  size: number,
): Promise<void> {
  try {
    await store.completeUpload(upload, parts)
  } catch (error) {
    if (!(await store.isCompleted(upload, size))) throw error
  }
}

/** Begins a new upload of the same object, with the object as it is as its first part. */
async function rebase(
  context: BackupContext,
  journal: Journal,
  size: number,
  reason: string,
): Promise<Adoption> {
  const { store } = context
  const { key } = journal.upload
  const upload = await store.createUpload(key, randomUUID())
  const parts: Part[] = []
  for (const range of evenRanges(size, store.limits.partBytesMax))
    parts.push(await store.copyPart(upload, parts.length + 1, key, range))
  const rebased = { ...journal, upload, parts }
  await context.keepJournal(rebased)
  return { action: 'rebase', reason, journal: rebased }
}

/** Undefined stands for all of it: a store may refuse ranges of what is small. */
export function evenRanges(size: number, bytesMax: number): (ByteRange | undefined)[] {
  const count = Math.ceil(size / bytesMax)
  if (count <= 1) return [undefined]
  const cut = (index: number) => Math.floor((size * index) / count)
  return Array.from({ length: count }, (_, index) => ({ start: cut(index), end: cut(index + 1) }))
}

function samePart(part: Part, found: Part | undefined): boolean {
  return part.number === found?.number && part.size === found.size && part.etag === found.etag
}
