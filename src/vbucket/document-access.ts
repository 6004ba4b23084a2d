/** What reads and writes the documents of a bucket, connected to each other. */
import type { Status } from '../../protocol/status.ts'
import type { Clock } from '../clock.ts'
import type { DiskReader } from '../storage/disk-reader.ts'
import type { ChangeLog } from './change-log.ts'
import { DocumentFinder } from './document-finder.ts'
import { DocumentRewriter } from './document-rewriter.ts'
import { DocumentWriter } from './document-writer.ts'
import { Documents } from './documents.ts'
import type { Quota } from './quota.ts'
import { StoredForm, type StoredFormOptions } from './stored-form.ts'
import type { Vbucket } from './vbucket.ts'
import { MetaWriter } from './with-meta.ts'

export interface DocumentAccessOptions {
  readonly changes: ChangeLog
  readonly disk: DiskReader
  readonly clock: Clock
  readonly settings: StoredFormOptions
  readonly quota: Quota
  readonly onAppend: () => void
  /** Success, or why no write can be taken now. */
  readonly admit: (vbucket: Vbucket) => Status
}

export interface DocumentAccess {
  readonly documents: Documents
  readonly metaWriter: MetaWriter
  readonly rewriter: DocumentRewriter
}

export function connectDocuments(options: DocumentAccessOptions): DocumentAccess {
  const { changes, disk, clock, settings, quota, onAppend, admit } = options
  const { valueBytesMax } = settings
  const finder = new DocumentFinder(changes, disk)
  const writer = new DocumentWriter(changes, clock, quota, onAppend)
  const form = new StoredForm(settings)
  const common = { finder, writer, clock, form, valueBytesMax, admit }
  const documents = new Documents(common)
  const locked = { ...common, locks: documents.locks }
  const metaWriter = new MetaWriter(locked)
  return { documents, metaWriter, rewriter: new DocumentRewriter(locked) }
}
