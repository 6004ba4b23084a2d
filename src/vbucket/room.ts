/** Whether LMDB can be trusted to take what it does not have yet. */
import { hasRoom } from '../storage/environment.ts'
import type { EnvironmentFigures } from '../storage/flusher-messages.ts'

/**
 * The smallest record takes twice its length in the log, keys and index entry included; and pages
 * are not full. All of it may go to one environment.
 */
const diskBytesPerLogByte = 4

export interface Room {
  readonly environments: readonly EnvironmentFigures[]
  /** Bytes that pinned snapshots keep from reuse, by environment. */
  readonly heldBytes: readonly number[]
}

/** On the safe side: of what is in doubt it says no. Asked for each block of the journal. */
export function hasRoomForUnflushed(
  unflushedBytes: number,
  limitBytes: number,
  { environments, heldBytes }: Room,
): boolean {
  const neededBytes = diskBytesPerLogByte * unflushedBytes
  for (let i = 0; i < environments.length; i++) {
    const { liveBytes } = environments[i]!
    if (!hasRoom(limitBytes, { liveBytes, heldBytes: heldBytes[i]!, neededBytes })) return false
  }
  return true
}
