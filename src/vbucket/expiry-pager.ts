/**
 * Expires documents that nobody reads: walks the expiries on disk in bounded steps, giving way
 * to clients between them, and turns what is due into expirations.
 */
import { StatusError } from '../errors.ts'
import type { DiskReader, DueDocument } from '../storage/disk-reader.ts'
import { RecordView } from '../storage/record.ts'
import type { Documents } from './documents.ts'
import type { Vbucket } from './vbucket.ts'

const stepMax = 256

export interface ExpiryPagerOptions {
  disk: DiskReader
  documents: Documents
  vbucket: (vbid: number) => Vbucket | undefined
  nowSeconds: () => number
}

/** One pass over everything that is due; returns how many documents it expired. */
export async function expireDue(
  options: ExpiryPagerOptions,
  isStopped: () => boolean,
): Promise<number> {
  let expired = 0
  for (let environment = 0; environment < options.disk.environmentCount; environment++) {
    let after: DueDocument | undefined
    for (;;) {
      if (isStopped()) return expired
      const due = options.disk.due(environment, after, options.nowSeconds(), stepMax)
      for (const document of due) if (expire(options, document)) expired++
      if (due.length < stepMax) break
      after = due.at(-1)
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  return expired
}

const view = new RecordView()

function expire({ disk, documents, vbucket }: ExpiryPagerOptions, due: DueDocument): boolean {
  const owner = vbucket(due.vbid)
  if (owner === undefined || !owner.isActive || owner.diskHidden) return false
  try {
    if (!disk.record(due.vbid, due.seqno, view)) return false
    const key = Buffer.from(view.key())
    return documents.expire(owner, key, 0, key.length, due.seqno)
  } catch (error) {
    // It is damaged, which has been logged: the others are still to be expired.
    if (error instanceof StatusError) return false
    throw error
  }
}
