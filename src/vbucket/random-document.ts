/** A live document of a collection chosen at random: from a random place of a random vbucket that has some. */
import type { Random } from '../random.ts'
import type { DiskReader } from '../storage/disk-reader.ts'
import { collectionOf } from '../storage/record-key.ts'
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
  collection: number
}

const view = new RecordView()
const newest = new RecordView()
const attemptsMax = 16
/** How far an attempt looks for a live document behind its place; the last one looks further. */
const reach = 64
const lastReach = 8192

export function randomDocument(options: RandomDocumentOptions): RecordView | undefined {
  const { vbuckets, random, collection } = options
  const first = Math.floor(random.fraction() * vbuckets.length)
  for (let i = 0; i < vbuckets.length; i++) {
    const vbucket = vbuckets[(first + i) % vbuckets.length]
    if (vbucket === undefined || !vbucket.isActive || vbucket.heldBy(collection).items === 0)
      continue
    const found = inVbucket(vbucket, options)
    if (found) return found
  }
  return undefined
}

function inVbucket(vbucket: Vbucket, options: RandomDocumentOptions): RecordView | undefined {
  const { random, documents } = options
  for (let attempt = 0; attempt <= attemptsMax; attempt++) {
    // The last attempt begins at the front, so that a vbucket of many tombstones is searched too.
    const isLast = attempt === attemptsMax
    const seqno = 1 + Math.floor((isLast ? 0 : random.fraction()) * vbucket.highSeqno)
    if (!showFrom(vbucket, seqno, isLast ? lastReach : reach, options)) continue
    const key = Buffer.from(view.key())
    const live = documents.get(vbucket, key, 0, key.length)
    if (live) return live
  }
  return undefined
}

/** Shows the first document at or behind a place, on disk and then in the change log. */
function showFrom(
  vbucket: Vbucket,
  place: number,
  countMax: number,
  { changes, disk, collection }: RandomDocumentOptions,
): boolean {
  const { id, highSeqno, diskHidden } = vbucket
  const lowest = changes.lowestSeqno(id, highSeqno)
  const isWanted = (record: RecordView) =>
    !record.isDeletion && collectionOf(record.bytes, record.keyStart) === collection
  const isNewest = (record: RecordView) => {
    if (!isWanted(record)) return false
    const { bytes, keyStart, keyLength, seqno } = record
    return !changes.find(id, bytes, keyStart, keyLength, newest) || newest.seqno === seqno
  }
  const isOnDisk = !diskHidden && place < lowest
  if (isOnDisk && disk.firstFrom(id, place, countMax, view, isNewest)) return true
  const first = Math.max(place, lowest)
  const last = Math.min(highSeqno, first + countMax - 1)
  for (let seqno = first; seqno <= last; seqno++) {
    changes.at(id, seqno, view)
    if (isWanted(view) && changes.supersededBy(view) === 0) return true
  }
  return false
}
