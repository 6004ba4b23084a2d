import { seqnoAdvancedLength } from '../../protocol/dcp/seqno-advanced.ts'
import { snapshotMarkerLengthMax } from '../../protocol/dcp/snapshot-marker.ts'
import { streamEndLength } from '../../protocol/dcp/stream-end.ts'
import { headerLength } from '../../protocol/header.ts'
import type { Change, DcpClient, SnapshotMarkerEvent } from '../../src/client/index.ts'
import { revisionOf, valueOf } from './workload.ts'

function idle(ms: number): Promise<void> {
  return new Promise(resolve => (ms > 0 ? setTimeout(resolve, ms) : setImmediate(resolve)))
}

/** What one vbucket's stream has brought. */
class VbucketCopy {
  readonly documents = new Map<string, number>()
  seqno = 0
  /** The greatest seqno ever received: a change at or below it, after a rollback, comes again. */
  highestSeqno = 0
  snapshot = { start: 0, end: 0 }
  /** Keys of the snapshot so far. */
  readonly keys = new Set<string>()
}

const extrasLengths = { mutation: 31, deletion: 21, expiration: 20 } as const
const otherLengths = {
  'snapshot-marker': snapshotMarkerLengthMax,
  'seqno-advanced': seqnoAdvancedLength,
  'stream-end': streamEndLength,
}

export const frameBytes = ({ type, key, value }: Change) =>
  headerLength + extrasLengths[type] + key.length + value.length

/**
 * A consumer's copy of a bucket, that trusts nothing: seqnos of a vbucket have to grow, a snapshot
 * holds a key once and nothing outside of its bounds, values are as the writer made them.
 */
export class Copy {
  readonly problems: string[] = []
  changes = 0
  snapshots = 0
  rollbacks = 0
  /** Bytes of frames that were received at least once before. */
  repeatedBytes = 0
  /** Bytes of frames of changes, each counted once. */
  uniqueBytes = 0
  /** At most, of all other frames of streams. */
  otherBytes = 0
  readonly #vbuckets = new Map<number, VbucketCopy>()
  readonly #idleMs: number

  /** `idleMs`: pauses now and then, for a consumer that has other things to do. */
  constructor({ idleMs = 0 }: { idleMs?: number | undefined } = {}) {
    this.#idleMs = idleMs
  }

  /** Consumes until the client is closed. */
  async follow(client: DcpClient): Promise<void> {
    let count = 0
    for await (const event of client.events()) {
      switch (event.type) {
        case 'snapshot-marker':
          this.#begin(event)
          break
        case 'mutation':
        case 'deletion':
        case 'expiration':
          this.#apply(event)
          break
        case 'seqno-advanced':
          this.of(event.vbid).seqno = event.seqno
          break
        case 'stream-end':
          break
        case 'collection-created':
        case 'collection-dropped':
        case 'scope-created':
        case 'scope-dropped':
          throw new Error(`${event.type}, and nobody asked for it`)
      }
      if (event.type in otherLengths) {
        this.otherBytes += otherLengths[event.type as keyof typeof otherLengths]
      }
      // What waits is handed out without a turn of the event loop, where sockets would be served.
      if (++count % 256 === 0) await idle(this.#idleMs)
    }
  }

  /** The client has to go back: for a copy that keeps no history, to nothing. */
  rollBack(vbid: number): number {
    this.rollbacks++
    const copy = this.of(vbid)
    copy.documents.clear()
    copy.keys.clear()
    copy.snapshot = { start: 0, end: 0 }
    copy.seqno = 0
    return 0
  }

  of(vbid: number): VbucketCopy {
    let copy = this.#vbuckets.get(vbid)
    if (copy === undefined) this.#vbuckets.set(vbid, (copy = new VbucketCopy()))
    return copy
  }

  get size(): number {
    let size = 0
    for (const { documents } of this.#vbuckets.values()) size += documents.size
    return size
  }

  hasReached(highSeqnos: ReadonlyMap<number, number>): boolean {
    for (const [vbid, seqno] of highSeqnos) if (this.of(vbid).seqno < seqno) return false
    return true
  }

  /** Where the copy is not what the model says, in words; empty when it is. */
  differences(model: ReadonlyMap<string, number>): string[] {
    const found: string[] = []
    let shared = 0
    for (const [vbid, { documents }] of this.#vbuckets) {
      for (const [key, revision] of documents) {
        const expected = model.get(key)
        if (expected === revision) shared++
        else found.push(`${key} in vbucket ${vbid}: ${revision}, not ${expected ?? 'deleted'}`)
      }
    }
    if (shared < model.size && found.length === 0) {
      found.push(`${model.size - shared} documents are missing`)
    }
    return found
  }

  #begin({ vbid, startSeqno: start, endSeqno: end }: SnapshotMarkerEvent): void {
    const copy = this.of(vbid)
    const { snapshot, seqno } = copy
    if (start > seqno) this.#object(`vbucket ${vbid}: a snapshot from ${start} after ${seqno}`)
    // Told again after a disconnect: the same snapshot goes on.
    if (snapshot.start === start && snapshot.end === end && seqno < end) return
    this.snapshots++
    copy.snapshot = { start, end }
    copy.keys.clear()
  }

  #apply(change: Change): void {
    const { vbid, seqno, type } = change
    const copy = this.of(vbid)
    const key = change.key.toString()
    const { start, end } = copy.snapshot
    if (seqno <= copy.seqno) this.#object(`vbucket ${vbid}: seqno ${seqno} after ${copy.seqno}`)
    if (seqno < start || seqno > end) {
      this.#object(`vbucket ${vbid}: seqno ${seqno} outside of the snapshot ${start} to ${end}`)
    }
    if (copy.keys.has(key)) this.#object(`vbucket ${vbid}: ${key} twice in one snapshot`)
    copy.keys.add(key)
    copy.seqno = seqno
    this.changes++
    const bytes = frameBytes(change)
    if (seqno <= copy.highestSeqno) this.repeatedBytes += bytes
    else {
      copy.highestSeqno = seqno
      this.uniqueBytes += bytes
    }
    if (type !== 'mutation') {
      copy.documents.delete(key)
      return
    }
    const revision = revisionOf(change.value)
    if (change.value.toString() !== valueOf(key, revision, change.value.length)) {
      this.#object(`vbucket ${vbid}: the value of ${key} at ${seqno} is damaged`)
    }
    copy.documents.set(key, revision)
  }

  #object(problem: string): void {
    if (this.problems.length < 20) this.problems.push(problem)
  }
}
