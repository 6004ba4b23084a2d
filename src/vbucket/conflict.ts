/**
 * Which of two versions of a document made on different nodes wins. Both nodes must come to the
 * same answer whichever comes first, so every field takes part and a full tie keeps what is there.
 * The rule is Couchbase's for revision-number conflict resolution.
 */
export interface Version {
  revno: number
  casHigh: number
  casLow: number
  expiry: number
  flags: number
}

export function wins(incoming: Version, existing: Version): boolean {
  const fields: readonly (keyof Version)[] = ['revno', 'casHigh', 'casLow', 'expiry', 'flags']
  for (const field of fields) {
    if (incoming[field] !== existing[field]) return incoming[field] > existing[field]
  }
  return false
}
