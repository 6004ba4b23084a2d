/** Whether LMDB can be trusted to take what it does not have yet. */
import { hasRoom } from '../storage/environment.ts'
import type { EnvironmentFigures } from '../storage/flusher-messages.ts'

/**
 * The smallest record takes twice its length in the log, keys and index entry included; and pages
 * are not full. All of it may go to one environment.
 */
const diskBytesPerLogByte = 4

export interface Room {
  readonly limitBytes: number
  readonly unflushedBytes: number
  readonly environments: readonly EnvironmentFigures[]
  /** Bytes that pinned snapshots keep from reuse, by environment. */
  readonly heldBytes: readonly number[]
}

/** On the safe side: of what is in doubt it says no. */
export function hasRoomForUnflushed(room: Room): boolean {
  const neededBytes = diskBytesPerLogByte * room.unflushedBytes
  return room.environments.every(({ liveBytes }, index) =>
    hasRoom(room.limitBytes, { liveBytes, heldBytes: room.heldBytes[index]!, neededBytes }),
  )
}
