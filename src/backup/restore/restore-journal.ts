import { createHash } from 'node:crypto'
import { readFile, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { count, decodeDocument, encodeDocument } from '../archive/documents.ts'
import { replaceFile } from '../durable-file.ts'
import { BackupError } from '../errors.ts'

/** How far a restore is. What it says is done is on the disks of the bucket. */
const journalSchema = z.strictObject({
  format: z.literal('holdfast-restore-journal'),
  version: z.literal(1),
  /** Of what makes this restore another one than any other. */
  identity: z.string(),
  counts: z.strictObject({ applied: count, skipped: count, filtered: count }),
  /** Of vbuckets in the archive: all of the backups before this one, and of it up to this seqno. */
  positions: z.array(z.strictObject({ vbid: count, backup: z.string(), seqno: count })),
  /** Of vbuckets of the bucket: what they had when this was written. */
  seqnos: z.array(z.tuple([count, count])),
})
export type RestoreJournalDocument = z.infer<typeof journalSchema>

/** Which restore it is: only the same one goes on. */
export interface RestoreIdentity {
  readonly repository: string
  readonly backups: readonly string[]
  readonly bucket: string
  readonly bucketUuid: string
  readonly force: boolean
  readonly selection: object
}

/** The file in the staging folder by which a restore that was interrupted goes on. */
export class RestoreJournal {
  readonly path: string
  readonly #identity: string

  constructor(stagingRoot: string, identity: RestoreIdentity) {
    this.#identity = createHash('sha256').update(JSON.stringify(identity)).digest('hex')
    const name = `restore-${this.#identity.slice(0, 16)}.json`
    this.path = join(stagingRoot, identity.repository, name)
  }

  /** Undefined if there is none, or none that can be used: then all is sent again, which does no harm. */
  read(): Promise<RestoreJournalDocument | undefined> {
    return this.#told(async () => {
      try {
        const journal = decodeDocument(journalSchema, await readFile(this.path), this.path)
        return journal.identity === this.#identity ? journal : undefined
      } catch (error) {
        const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
        if (isMissing || error instanceof BackupError) return undefined
        throw error
      }
    })
  }

  write(state: Pick<RestoreJournalDocument, 'counts' | 'positions' | 'seqnos'>): Promise<void> {
    const document: RestoreJournalDocument = {
      format: 'holdfast-restore-journal',
      version: 1,
      identity: this.#identity,
      ...state,
    }
    return this.#told(() => replaceFile(this.path, encodeDocument(document)))
  }

  remove(): Promise<void> {
    return this.#told(async () => {
      await rm(this.path, { force: true })
      // Unless there is something else of this repository.
      await rmdir(dirname(this.path)).catch(() => {})
    })
  }

  async #told<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      const message = `staging file ${this.path}: ${(error as Error).message}`
      throw new BackupError('staging', message, { cause: error })
    }
  }
}
