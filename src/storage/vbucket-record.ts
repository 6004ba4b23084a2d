/**
 * What is stored of a vbucket beside its documents, as JSON in the vbuckets table. It is written
 * in the transaction of the documents it speaks of: they are never out of step.
 */
export interface VbucketRecord {
  /** 1 active, 2 replica, 3 pending, 4 dead. */
  state: number
  highSeqno: number
  /** Every tombstone at or below this seqno may be gone. */
  purgeSeqno: number
  /** The greatest CAS ever given out here, hexadecimal. */
  maxCas: string
  /** Newest first. */
  failoverLog: { vbuuid: string; seqno: number }[]
  /** Documents of the default collection that live; of others, see collection-record.ts. */
  items: number
  /** Of their keys, with the id of the collection, and their values as they are stored. */
  bytes: number
  tombstones: number
  /** Of the newest change in the default collection; none when there is none. */
  defaultSeqno?: number
  /** The default collection has been dropped. */
  isWithoutDefault?: boolean
  /** Hexadecimal: of the manifest that its system events have brought it to; none for the first. */
  manifestUid?: string
  /** Name of the block that was begun last; none when nothing has been stored yet. */
  newestBlock?: number
  /** Set while its contents are being removed; a start finishes what a stop interrupted. */
  dropping?: boolean
}

export function encodeVbucketRecord(record: VbucketRecord): Buffer {
  return Buffer.from(JSON.stringify(record))
}

export function decodeVbucketRecord(bytes: Buffer): VbucketRecord {
  return JSON.parse(bytes.toString()) as VbucketRecord
}
