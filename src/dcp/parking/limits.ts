/** Which parked snapshots have to go, and why. Pure: usage and time are handed in. */
import { ReleaseCause, type ExpiryCause } from './held-snapshot.ts'

export interface ParkedEntry {
  readonly client: string
  readonly place: string
  readonly deadlineMs: number
}

export interface ParkedLimits {
  parkedMax: number
  parkedPerClientMax: number
}

export interface Expiry<Entry> {
  entry: Entry
  cause: ExpiryCause
}

/**
 * Entries past their deadline; then, where more vbuckets are parked than allowed for a client or
 * in all, those with the oldest deadline, until the limits are kept. Several snapshots of one
 * client and vbucket count once, and go together.
 */
export function chooseExpired<Entry extends ParkedEntry>(
  parked: Iterable<Entry>,
  limits: ParkedLimits,
  nowMs: number,
): Expiry<Entry>[] {
  const expired: Expiry<Entry>[] = []
  const groups = new Map<string, Entry[]>()
  const perClient = new Map<string, number>()
  for (const entry of byDeadline(parked)) {
    if (entry.deadlineMs <= nowMs) {
      expired.push({ entry, cause: ReleaseCause.deadline })
      continue
    }
    const key = `${entry.client} ${entry.place}`
    const group = groups.get(key)
    if (group !== undefined) {
      group.push(entry)
      continue
    }
    groups.set(key, [entry])
    perClient.set(entry.client, (perClient.get(entry.client) ?? 0) + 1)
  }
  for (const [key, entries] of groups) {
    const { client } = entries[0]!
    const count = perClient.get(client)!
    const cause =
      count > limits.parkedPerClientMax
        ? ReleaseCause.parkedPerClientMax
        : groups.size > limits.parkedMax
          ? ReleaseCause.parkedMax
          : undefined
    if (cause === undefined) continue
    groups.delete(key)
    perClient.set(client, count - 1)
    for (const entry of entries) expired.push({ entry, cause })
  }
  return expired
}

/** Oldest deadline first. */
export function byDeadline<Entry extends { deadlineMs: number }>(
  entries: Iterable<Entry>,
): Entry[] {
  return [...entries].sort((one, other) => one.deadlineMs - other.deadlineMs)
}
