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
  /** Documents that live. */
  items: number
  tombstones: number
  /** Of the keys and values of documents that live. */
  bytes: number
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
