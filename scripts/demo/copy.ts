/**
 * A warehouse in miniature: the copy of the bucket that the change stream keeps, and an account
 * of the bytes that brought something new.
 */
import { seqnoAdvancedLength } from '../../protocol/dcp/seqno-advanced.ts'
import { snapshotMarkerLengthMax } from '../../protocol/dcp/snapshot-marker.ts'
import { streamEndLength } from '../../protocol/dcp/stream-end.ts'
import { isChange, type Change, type DcpClient, type DcpEvent } from '../../src/client/index.ts'

/**
 * Of a frame: header and extras, without key and value; or all of it, where it has neither. There
 * are no events of collections, as nobody asks for any.
 */
const frameBytes: Record<Change['type'], number> & Partial<Record<DcpEvent['type'], number>> = {
  mutation: 24 + 31,
  deletion: 24 + 21,
  expiration: 24 + 20,
  'snapshot-marker': snapshotMarkerLengthMax,
  'seqno-advanced': seqnoAdvancedLength,
  'stream-end': streamEndLength,
}

export class Copy {
  /** By vbucket: the CAS of the version that is held of each key. */
  readonly #documents = new Map<number, Map<string, bigint>>()
  /** By vbucket: the highest seqno that has ever arrived. */
  readonly #seen = new Map<number, number>()
  readonly #positions = new Map<number, number>()
  /** Of frames with changes that had not arrived before, and of all that are none. */
  usefulBytes = 0

  get size(): number {
    let size = 0
    for (const documents of this.#documents.values()) size += documents.size
    return size
  }

  async follow(client: DcpClient): Promise<void> {
    let count = 0
    for await (const event of client.events()) {
      if (isChange(event)) this.#apply(event)
      else {
        if (event.type === 'seqno-advanced') this.#positions.set(event.vbid, event.seqno)
        this.usefulBytes += frameBytes[event.type] ?? 0
      }
      // What waits is handed out without a turn of the event loop, where others would be served.
      if (++count % 256 === 0) await new Promise(resolve => setImmediate(resolve))
    }
  }

  /** The server sends the client back: only nothing is sure to be a state it can go on from. */
  rollBack(vbid: number): number {
    this.#documents.delete(vbid)
    this.#positions.set(vbid, 0)
    return 0
  }

  hasReached(seqnos: ReadonlyMap<number, number>): boolean {
    for (const [vbid, seqno] of seqnos) if ((this.#positions.get(vbid) ?? 0) < seqno) return false
    return true
  }

  /** How many documents differ from what the bucket holds. */
  differences(bucket: ReadonlyMap<string, bigint>): number {
    const own = new Map<string, bigint>()
    for (const documents of this.#documents.values()) {
      for (const [key, cas] of documents) own.set(key, cas)
    }
    let count = 0
    for (const [key, cas] of bucket) if (own.get(key) !== cas) count++
    for (const key of own.keys()) if (!bucket.has(key)) count++
    return count
  }

  #apply(change: Change): void {
    const { vbid, seqno, cas, type } = change
    const key = change.key.toString()
    if (seqno > (this.#seen.get(vbid) ?? 0)) {
      this.#seen.set(vbid, seqno)
      this.usefulBytes += frameBytes[type] + change.key.length + change.value.length
    }
    this.#positions.set(vbid, seqno)
    let documents = this.#documents.get(vbid)
    if (documents === undefined) this.#documents.set(vbid, (documents = new Map()))
    if (type === 'mutation') documents.set(key, cas)
    else documents.delete(key)
  }
}
