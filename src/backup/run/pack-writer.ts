import { createHash, randomUUID } from 'node:crypto'
import type { SavedPosition } from '../../client/index.ts'
import { packKey } from '../archive/layout.ts'
import type { Segment } from '../archive/segment-builder.ts'
import type { BackupContext } from './context.ts'
import type { PackedObject, PackJournal } from './journal.ts'

/** A vbucket's data object that is one segment, and where the vbucket is with it. */
export interface WholeObject {
  readonly vbid: number
  readonly segment: Segment
  readonly firstSeqno: number
  readonly position: SavedPosition
}

/** Its journal is written anew with each: a longer one than this would cost more than a new pack. */
const partsOfPackMax = 16

/** What is to become a part. */
interface Filling {
  readonly segments: Segment[]
  size: number
  readonly objects: PackedObject[]
}

/**
 * Puts the data objects of small vbuckets one behind the other into packs: with a file, an upload and
 * a journal for each of a thousand vbuckets, a backup would be nothing but these. An object is in one
 * part, whole; which of them are safe is said in the pack's journal, once for all of a part.
 *
 * One part is filled while another is on its way to the store.
 */
export class PackWriter {
  readonly #context: BackupContext
  #number: number
  /** Of the pack that is being written, once it has a part. */
  #journal: PackJournal | undefined
  #filling: Filling | undefined
  #putting: Promise<void> | undefined
  /** Until the part before one that is full is safe. */
  #full: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined

  /** The first pack gets this number, the next ones those behind it. */
  constructor(context: BackupContext, firstNumber: number) {
    this.#context = context
    this.#number = firstNumber
  }

  /** Resolves when there is room for it. What was added is safe when `finish` has resolved. */
  async add({ vbid, segment, firstSeqno, position }: WholeObject): Promise<void> {
    while (this.#full) await this.#full
    this.#check()
    const filling = (this.#filling ??= { segments: [], size: 0, objects: [] })
    const { sha256, lastSeqno, counts, size } = segment
    const object = { vbid, offset: filling.size, size, sha256, firstSeqno, lastSeqno, counts }
    filling.objects.push({ ...object, position })
    filling.segments.push(segment)
    filling.size += size
    if (filling.size >= this.#context.segmentBytes) this.#putSoon()
  }

  /** Resolves when everything that was added is safe. */
  async finish(): Promise<void> {
    this.#putSoon()
    await this.#putting
    this.#check()
  }

  /** Resolves when nothing is on its way to the store, whatever became of it. */
  async settled(): Promise<void> {
    await this.#putting
  }

  #check(): void {
    if (this.#failure) throw this.#failure.error
  }

  #putSoon(): void {
    const part = this.#filling
    if (!part) return
    this.#filling = undefined
    this.#full = this.#putting?.then(() => {
      this.#full = undefined
    })
    this.#putting = (this.#putting ?? Promise.resolve())
      .then(() => (this.#failure ? undefined : this.#put(part)))
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
  }

  async #put({ segments, size, objects }: Filling): Promise<void> {
    const { store, prefix, backupId } = this.#context
    const before = this.#journal
    const upload =
      before?.upload ??
      (await store.createUpload(`${prefix}${packKey(this.#number)}`, randomUUID()))
    const parts = before?.parts ?? []
    const offset = parts.reduce((sum, part) => sum + part.size, 0)
    const chunks = segments.flatMap(segment => segment.chunks)
    const release = () => {
      for (const segment of segments) segment.release?.()
    }
    const content = { chunks, size, sha256: digestOf(objects), release }
    const part = await store.putPart(upload, parts.length + 1, content)
    release()
    const placed = objects.map(object => ({ ...object, offset: offset + object.offset }))
    const journal: PackJournal = {
      format: 'holdfast-backup-pack-journal',
      version: 1,
      backup: backupId,
      number: this.#number,
      upload,
      parts: [...parts, part],
      objects: [...(before?.objects ?? []), ...placed],
    }
    await this.#context.keepPack(journal)
    this.#journal = journal
    if (journal.parts.length < partsOfPackMax) return
    this.#journal = undefined
    this.#number++
  }
}

/** The bytes were hashed when they became segments: what they are together need not be hashed again. */
function digestOf(objects: readonly PackedObject[]): string {
  const hash = createHash('sha256')
  for (const { sha256 } of objects) hash.update(Buffer.from(sha256, 'hex'))
  return hash.digest('hex')
}
