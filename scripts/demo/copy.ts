/**
 * A warehouse in miniature: the copy of the bucket that the change stream keeps, and an account
 * of every byte of changes that came more than once.
 */
import { isChange, type Change, type DcpClient } from '../../src/client/index.ts'

/** Header and extras of a change, beside its key and value. */
const overheadBytes = { mutation: 24 + 31, deletion: 24 + 21, expiration: 24 + 20 }

export class Copy {
  /** By vbucket: the CAS of the version that is held of each key. */
  readonly #documents = new Map<number, Map<string, bigint>>()
  /** By vbucket: the highest seqno that has ever arrived. */
  readonly #seen = new Map<number, number>()
  readonly #positions = new Map<number, number>()
  changes = 0
  repeatedBytes = 0
  /** Documents thrown away because the server sent the client back. */
  discarded = 0

  get size(): number {
    let size = 0
    for (const documents of this.#documents.values()) size += documents.size
    return size
  }

  async follow(client: DcpClient): Promise<void> {
    for await (const change of client.events()) if (isChange(change)) this.#apply(change)
  }

  /** The server sends the client back: only nothing is sure to be a state it can go on from. */
  rollBack(vbid: number): number {
    this.discarded += this.#documents.get(vbid)?.size ?? 0
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
    const seen = this.#seen.get(vbid) ?? 0
    if (seqno > seen) this.#seen.set(vbid, seqno)
    else this.repeatedBytes += overheadBytes[type] + change.key.length + change.value.length
    this.#positions.set(vbid, seqno)
    let documents = this.#documents.get(vbid)
    if (documents === undefined) this.#documents.set(vbid, (documents = new Map()))
    if (type === 'mutation') documents.set(key, cas)
    else documents.delete(key)
    this.changes++
  }
}
