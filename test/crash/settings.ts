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
