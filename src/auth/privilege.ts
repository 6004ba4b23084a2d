/** What somebody may do; bits of `Session.privileges` and of the rows of commands. */
export const Privilege = {
  /** For commands that everybody may use, also before logging in. */
  none: 0,
  /** Whoever has logged in, whatever else they may do. */
  login: 1,
  read: 2,
  write: 4,
  /** Changes that bring CAS and revision along: what restoring and replicating need. */
  meta: 8,
  dcp: 16,
  stats: 32,
  /**
   * What readers, writers and streams alike have to know: how far vbuckets are, their histories,
   * which collections there are.
   */
  seqnos: 64,
  /** Buckets, vbucket states, compaction, flush. */
  admin: 128,
  /** Extended attributes of the system, whose names begin with `_`; what else they need stays. */
  systemRead: 256,
  systemWrite: 512,
  all: 1023,
} as const
