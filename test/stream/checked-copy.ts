import type { Change, DcpClient, SnapshotMarkerEvent } from '../../src/client/index.ts'
import { DocumentTable, indexOf, keyOf, revisionOf } from './document-writer.ts'

/** So many events are taken in one go; then sockets are served, and others get their turn. */
const eventsAtOnce = 1024

/** Where the stream of one vbucket is. */
interface Position {
  seqno: number
  snapshotStart: number
  snapshotEnd: number
  /** Counts snapshots of all vbuckets: names the one that is being received. */
  snapshot: number
  live: number
}

/**
 * A consumer's copy of a bucket that takes nothing for granted: seqnos of a vbucket have to grow, a
 * snapshot follows on the one before it, holds a key once and nothing outside of its bounds, and
 * values are as their writer made them.
 */
export class CheckedCopy {
  readonly table: DocumentTable
  /** What no stream may do, in words; the first few. */
  readonly problems: string[] = []
  changes = 0
  deletions = 0
  snapshots = 0
  /** How far all vbuckets together got: the sum of their seqnos. */
  progress = 0
  readonly #positions = new Map<number, Position>()
  /** The snapshot in which each document came last. */
  readonly #snapshotOf: Uint32Array

  readonly #pause: () => Promise<unknown>

  /** `pause` is called now and then: a consumer that has other things to do waits there. */
  constructor(size: number, pause = () => Promise.resolve()) {
    this.table = new DocumentTable(size)
    this.#snapshotOf = new Uint32Array(size)
    this.#pause = pause
  }

  /** Consumes until the client is closed. */
  async follow(client: DcpClient): Promise<void> {
    let count = 0
    for await (const event of client.events()) {
      const position = this.#positionOf(event.vbid)
      switch (event.type) {
        case 'snapshot-marker':
          this.#begin(position, event)
          break
        case 'seqno-advanced':
          this.#move(position, event.vbid, event.seqno)
          break
        case 'stream-end':
          this.#object(`vbucket ${event.vbid}: the stream ended, ${event.reason}`)
          break
        case 'mutation':
        case 'deletion':
        case 'expiration':
          this.#apply(position, event)
          break
        case 'collection-created':
        case 'collection-dropped':
        case 'scope-created':
        case 'scope-dropped':
          this.#object(`vbucket ${event.vbid}: ${event.type}, and nobody asked for it`)
          break
      }
      if (++count % eventsAtOnce > 0) continue
      await new Promise(resolve => setImmediate(resolve))
      await this.#pause()
    }
  }

  /** Per vbucket, how far it got. */
  seqnos(): Map<number, number> {
    return new Map([...this.#positions].map(([vbid, { seqno }]) => [vbid, seqno]))
  }

  /** Per vbucket, how many documents there are. */
  liveDocuments(): Map<number, number> {
    return new Map([...this.#positions].map(([vbid, { live }]) => [vbid, live]))
  }

  hasReached(seqnos: ReadonlyMap<number, number>): boolean {
    for (const [vbid, seqno] of seqnos) if (this.#positionOf(vbid).seqno < seqno) return false
    return true
  }

  #positionOf(vbid: number): Position {
    let position = this.#positions.get(vbid)
    if (position === undefined) {
      position = { seqno: 0, snapshotStart: 0, snapshotEnd: 0, snapshot: 0, live: 0 }
      this.#positions.set(vbid, position)
    }
    return position
  }

  #begin(position: Position, marker: SnapshotMarkerEvent): void {
    const { vbid, startSeqno, endSeqno } = marker
    const { seqno, snapshotEnd } = position
    if (startSeqno > seqno + 1 || endSeqno < snapshotEnd || endSeqno <= seqno) {
      this.#object(
        `vbucket ${vbid}: snapshot ${startSeqno} to ${endSeqno} at seqno ${seqno} of ${snapshotEnd}`,
      )
    }
    position.snapshotStart = startSeqno
    position.snapshotEnd = endSeqno
    position.snapshot = ++this.snapshots
  }

  #move(position: Position, vbid: number, seqno: number): void {
    const { snapshotStart, snapshotEnd } = position
    if (seqno <= position.seqno) {
      this.#object(`vbucket ${vbid}: seqno ${seqno} after ${position.seqno}`)
    }
    if (seqno < snapshotStart || seqno > snapshotEnd) {
      this.#object(`vbucket ${vbid}: ${seqno} in the snapshot ${snapshotStart} to ${snapshotEnd}`)
    }
    this.progress += seqno - position.seqno
    position.seqno = seqno
  }

  #apply(position: Position, { type, vbid, seqno, key, value }: Change): void {
    this.#move(position, vbid, seqno)
    const index = indexOf(key)
    const { table } = this
    if (index < 0 || index >= table.seqnos.length) {
      this.#object(`vbucket ${vbid}: there is no ${key.toString()}`)
      return
    }
    if (this.#snapshotOf[index] === position.snapshot) {
      this.#object(`vbucket ${vbid}: ${keyOf(index)} twice in one snapshot`)
    }
    this.#snapshotOf[index] = position.snapshot
    const revision = type === 'mutation' ? revisionOf(index, value) : 0
    if (type === 'mutation' && revision === 0) {
      this.#object(`vbucket ${vbid}: the value of ${keyOf(index)} at ${seqno} is damaged`)
    }
    position.live += Math.sign(revision) - Math.sign(table.revisions[index]!)
    table.revisions[index] = revision
    table.seqnos[index] = seqno
    this.changes++
    if (type !== 'mutation') this.deletions++
  }

  #object(problem: string): void {
    if (this.problems.length < 20) this.problems.push(problem)
  }
}
