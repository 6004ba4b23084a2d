/** A live document chosen at random: from a random place of a random vbucket that has some. */
import type { Random } from '../random.ts'
import type { DiskReader } from '../storage/disk-reader.ts'
import { RecordView } from '../storage/record.ts'
import type { ChangeLog } from './change-log.ts'
import type { Documents } from './documents.ts'
import type { Vbucket } from './vbucket.ts'

export interface RandomDocumentOptions {
  vbuckets: readonly (Vbucket | undefined)[]
  changes: ChangeLog
  disk: DiskReader
  documents: Documents
  random: Random
}

const view = new RecordView()
const attemptsMax = 16

export function randomDocument(options: RandomDocumentOptions): RecordView | undefined {
  const { vbuckets, random } = options
  const first = Math.floor(random.fraction() * vbuckets.length)
  for (let i = 0; i < vbuckets.length; i++) {
    const vbucket = vbuckets[(first + i) % vbuckets.length]
    if (vbucket === undefined || !vbucket.isActive || vbucket.itemCount === 0) continue
    const found = inVbucket(vbucket, options)
    if (found) return found
  }
  return undefined
}

function inVbucket(vbucket: Vbucket, options: RandomDocumentOptions): RecordView | undefined {
  const { random, documents } = options
  for (let attempt = 0; attempt <= attemptsMax; attempt++) {
    // The last attempt begins at the front, so that a sparse vbucket is searched to its end.
    const start = attempt === attemptsMax ? 0 : random.fraction()
    const seqno = 1 + Math.floor(start * vbucket.highSeqno)
    if (!showFrom(vbucket, seqno, options)) continue
    const key = Buffer.from(view.key())
    const live = documents.get(vbucket, key, 0, key.length)
    if (live) return live
  }
  return undefined
}

function showFrom(
  vbucket: Vbucket,
  seqno: number,
  { changes, disk }: RandomDocumentOptions,
): boolean {
  if (changes.at(vbucket.id, seqno, view)) return true
  if (!vbucket.diskHidden && disk.liveRecordFrom(vbucket.id, seqno, view)) return true
  return changes.at(vbucket.id, changes.lowestSeqno(vbucket.id, vbucket.highSeqno), view)
}
