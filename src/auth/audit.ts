/** What is written down about who did what. None of it holds a password or anything made from one. */
export type AuditEvent =
  | 'login'
  | 'login-failed'
  /** Further failures come too fast to be looked at, let alone written down one by one. */
  | 'logins-slowed'
  | 'user-added'
  | 'user-changed'
  | 'user-removed'
  | 'bucket-created'
  | 'bucket-changed'
  | 'bucket-deleted'
  | 'bucket-flushed'
  | 'vbucket-set'
  | 'vbucket-deleted'
  | 'vbucket-compacted'
  | 'scope-created'
  | 'scope-dropped'
  | 'collection-created'
  | 'collection-changed'
  | 'collection-dropped'
  /** The manifest as a whole. */
  | 'collections-set'
  | 'refused'

/** Where somebody comes from. */
export interface Origin {
  readonly address: string
  readonly via: 'kv' | 'kv-tls' | 'http' | 'https'
  /** The number of the connection, as the log has it. */
  readonly connection?: number
}

export interface AuditLog {
  record(event: AuditEvent, fields: object): void
}

/** Keeps nothing; for tests and library use. */
export const silentAudit: AuditLog = { record() {} }
