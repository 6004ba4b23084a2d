import { smallSettings } from '../support/bucket.ts'

/** Of the bucket that is killed and opened again. */
export const crashSettings = {
  vbuckets: 8,
  environments: 2,
  changeLogBytes: 256 * 1024,
  unflushedSoftBytes: 2 * 2 ** 20,
  // Long enough that what is reported is often in the journal only.
  commitIntervalSeconds: 0.3,
}

/** Filled and removed again and again. */
export const droppedVbid = 6

/** Becomes replica and active again. */
export const toggledVbid = 5

/** Of the process whose files are written anew. */
export const compactionSettings = {
  ...smallSettings,
  environments: 1,
  changeLogBytes: 0,
  // So that what is durable is in the journal only, for a while.
  commitIntervalSeconds: 0.2,
}
export const largeDocuments = 20
