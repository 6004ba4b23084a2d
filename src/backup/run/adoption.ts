import { createHash, randomUUID } from 'node:crypto'
import {
  sizeOf,
  type ByteRange,
  type ObjectStore,
  type Part,
  type Upload,
} from '../store/object-store.ts'
import { complete, completeWithStrays, isCompletedWithMore } from './completion.ts'
import type { BackupContext, ResumeAction } from './context.ts'
import type { Journal } from './journal.ts'

export interface Adoption {
  readonly action: ResumeAction
  readonly reason: string
  /** What to go on from; undefined: from the beginning. */
  readonly journal: Journal | undefined
}

const goneReason = 'the upload is gone from the store'

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
    if (!(await isCompletedWithMore(store, upload, size))) return restart(goneReason)
    if (size < partBytesMin) return restart(tooFew(size))
    const next = await rebase(context, journal, context.keepJournal)
    return rebased(next, 'the object was completed by the last run')
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
    return restart(tooFew(size))
  }
  const next = await rebaseUpload(context, journal, context.keepJournal)
  if (!next) return restart(goneReason)
  return rebased(next, 'its last part is too small to be followed by another')
}

/** Of a vbucket, or of a pack. */
interface UploadJournal {
  readonly upload: Upload
  readonly parts: Part[]
}

/**
 * Makes an object of the journal's upload and the object the beginning of a new one, which has what
 * the journal tells of and nothing else; undefined if the upload is gone.
 */
export async function rebaseUpload<Kept extends UploadJournal>(
  context: BackupContext,
  journal: Kept,
  keep: (next: Kept) => Promise<void>,
): Promise<Kept | undefined> {
  const completion = await complete(context, journal.upload, journal.parts)
  if (completion === 'gone') return undefined
  if (completion === 'strays' && !(await completeWithStrays(context, journal.upload)))
    return undefined
  return await rebase(context, journal, keep)
}

function rebased(journal: Journal, reason: string): Adoption {
  return { action: 'rebase', reason, journal }
}

function restart(reason: string): Adoption {
  return { action: 'restart', reason, journal: undefined }
}

const tooFew = (size: number) => `${size} bytes are too few to be gone on with`

/** Begins a new upload of the same object, with what the journal tells of it as its first part. */
async function rebase<Kept extends UploadJournal>(
  { store }: BackupContext,
  journal: Kept,
  keep: (next: Kept) => Promise<void>,
): Promise<Kept> {
  const { key } = journal.upload
  const size = sizeOf(journal.parts)
  const isAll = (await store.size(key)) === size
  const upload = await store.createUpload(key, randomUUID())
  const parts: Part[] = []
  // Of a small object a store may refuse ranges.
  if (!isAll && size < store.limits.partBytesMin) parts.push(await putAgain(store, upload, size))
  else
    for (const range of evenRanges(size, store.limits.partBytesMax, isAll))
      parts.push(await store.copyPart(upload, parts.length + 1, key, range))
  const next = { ...journal, upload, parts }
  await keep(next)
  return next
}

async function putAgain(store: ObjectStore, upload: Upload, size: number): Promise<Part> {
  const chunks: Buffer[] = []
  const hash = createHash('sha256')
  for await (const chunk of store.read(upload.key, { start: 0, end: size })) {
    chunks.push(chunk)
    hash.update(chunk)
  }
  return await store.putPart(upload, 1, { chunks, size, sha256: hash.digest('hex') })
}

/** Undefined stands for all of the object. */
export function evenRanges(
  size: number,
  bytesMax: number,
  isAll: boolean,
): (ByteRange | undefined)[] {
  const count = Math.ceil(size / bytesMax)
  if (count <= 1 && isAll) return [undefined]
  const cut = (index: number) => Math.floor((size * index) / count)
  return Array.from({ length: count }, (_, index) => ({ start: cut(index), end: cut(index + 1) }))
}

function samePart(part: Part, found: Part | undefined): boolean {
  return part.number === found?.number && part.size === found.size && part.etag === found.etag
}
