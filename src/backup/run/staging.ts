import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { z } from 'zod'
import { decodeDocument, encodeDocument } from '../archive/documents.ts'
import { replaceFile } from '../durable-file.ts'
import { BackupError } from '../errors.ts'
import { forEachOf } from '../lanes.ts'
import {
  journalSchema,
  packJournalSchema,
  planSchema,
  type Journal,
  type Journals,
  type PackJournal,
  type Plan,
} from './journal.ts'

const writesAtATime = 16
const planFile = 'plan.json'
const journalPattern = /^(vb|pack)-(\d+)\.json$/

/** What a staging folder knows of an unfinished backup. */
export interface Staged {
  readonly plan: Plan
  readonly journals: Journals
  /** Vbuckets and packs whose journal cannot be read. */
  readonly unreadable: { readonly vbuckets: readonly number[]; readonly packs: readonly number[] }
}

/**
 * The folder in which a backup keeps its state while it is under way: a plan, and a journal for
 * each vbucket that has an upload of its own, and for each pack. Each is replaced in one step, durably: after a crash there is the old or the new one.
 */
export class Staging {
  readonly folder: string

  constructor(root: string, repositoryId: string, backupId: string) {
    this.folder = join(root, repositoryId, backupId)
  }

  writePlan(plan: Plan): Promise<void> {
    return this.#write(planFile, plan)
  }

  writeJournal(journal: Journal): Promise<void> {
    return this.#write(journalFile('vb', journal.vbid), journal)
  }

  writePack(journal: PackJournal): Promise<void> {
    return this.#write(journalFile('pack', journal.number), journal)
  }

  /** Drops what is there for these journals; a plan has to follow, without which they mean nothing. */
  async replace({ vbuckets, packs }: Journals): Promise<void> {
    await this.remove()
    await forEachOf(vbuckets.values(), writesAtATime, journal => this.writeJournal(journal))
    await forEachOf(packs.values(), writesAtATime, journal => this.writePack(journal))
  }

  removeJournal(vbid: number): Promise<void> {
    return this.#remove(journalFile('vb', vbid))
  }

  removePack(number: number): Promise<void> {
    return this.#remove(journalFile('pack', number))
  }

  /** Undefined if there is no plan that can be read: then the rest means nothing. */
  async read(): Promise<Staged | undefined> {
    const names = await this.#told(() => readdir(this.folder).catch(nothingThere))
    if (!names.includes(planFile)) return undefined
    const plan = await this.#readFile(planFile, planSchema)
    if (!plan) return undefined
    const journals: Journals = { vbuckets: new Map(), packs: new Map() }
    const unreadable: { vbuckets: number[]; packs: number[] } = { vbuckets: [], packs: [] }
    for (const name of names) {
      const [, kind, digits] = journalPattern.exec(name) ?? []
      if (kind === undefined) continue
      const number = Number(digits)
      if (kind === 'vb') {
        const journal = await this.#readFile(name, journalSchema)
        const isIt = journal?.vbid === number && journal.backup === plan.backup
        if (isIt) journals.vbuckets.set(number, journal)
        else unreadable.vbuckets.push(number)
      } else {
        const journal = await this.#readFile(name, packJournalSchema)
        const isIt = journal?.number === number && journal.backup === plan.backup
        if (isIt) journals.packs.set(number, journal)
        else unreadable.packs.push(number)
      }
    }
    return { plan, journals, unreadable }
  }

  /** Whether a run has left anything. */
  async exists(): Promise<boolean> {
    return (await this.#told(() => readdir(this.folder).catch(nothingThere))).length > 0
  }

  async remove(): Promise<void> {
    await this.#told(() => rm(this.folder, { recursive: true, force: true }))
  }

  async #readFile<Schema extends z.ZodType>(
    name: string,
    schema: Schema,
  ): Promise<z.infer<Schema> | undefined> {
    const path = join(this.folder, name)
    const bytes = await this.#told(() => readFile(path))
    try {
      return decodeDocument(schema, bytes, path)
    } catch (error) {
      // Torn or altered: the checkpoint in the archive may know it.
      if (error instanceof BackupError) return undefined
      throw error
    }
  }

  async #remove(name: string): Promise<void> {
    await this.#told(() => rm(join(this.folder, name), { force: true }))
  }

  #write(name: string, document: object): Promise<void> {
    return this.#told(() => replaceFile(join(this.folder, name), encodeDocument(document)))
  }

  async #told<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof BackupError) throw error
      const { message } = error as Error
      throw new BackupError('staging', `staging folder ${this.folder}: ${message}`, {
        cause: error,
      })
    }
  }
}

function journalFile(kind: 'vb' | 'pack', number: number): string {
  return `${kind}-${String(number).padStart(4, '0')}.json`
}

function nothingThere(error: NodeJS.ErrnoException): string[] {
  if (error.code === 'ENOENT') return []
  throw error
}
