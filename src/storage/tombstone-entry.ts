/**
 * The value of the tombstones table: since when a tombstone ages, and where its record is.
 *
 *   | seconds since the epoch u32 | distance u16 |
 *
 * `distance` is how far its seqno lies behind the name of the block that its record is in.
 */
export const tombstoneEntryLength = 6

export interface TombstoneEntry {
  nowSeconds: number
  block: number
  seqno: number
}

export function writeTombstoneEntry(entry: TombstoneEntry, target: Buffer): void {
  target.writeUInt32BE(entry.nowSeconds, 0)
  target.writeUInt16BE(entry.seqno - entry.block, 4)
}

export function agesSince(bytes: Buffer): number {
  return bytes.readUInt32BE(0)
}

/** Name of the block with the record of the tombstone with this seqno. */
export function blockOfTombstone(bytes: Buffer, seqno: number): number {
  return seqno - bytes.readUInt16BE(4)
}
