import type { Clock, Timer } from '../../clock.ts'
import type { Random } from '../../random.ts'
import type { ArchiveRecord } from '../archive/record.ts'
import { readBlocks } from '../data-object.ts'
import { forEachOf } from '../lanes.ts'
import { pause } from '../pause.ts'
import { readAhead } from '../read-ahead.ts'
import type { Repository } from '../repository.ts'
import type { Throttle } from '../throttle.ts'
import { untilStopped } from '../until-stopped.ts'
import type { CollectionRoutes } from './collection-routes.ts'
import type { DocumentFilter } from './document-filter.ts'
import { DocumentSender } from './document-sender.ts'
import type { RestoreJournal, RestoreJournalDocument } from './restore-journal.ts'
import type { RestorePlan, SourceObject, VbucketSources } from './restore-plan.ts'
import type { RestoreTarget } from './restore-target.ts'

export interface RestoreCounts {
  applied: number
  /** The bucket has the same or a newer version. */
  skipped: number
  /** Not asked for, or of a collection that had been dropped. */
  filtered: number
}

export interface RestoreContext {
  readonly repository: Repository
  readonly key: Buffer | undefined
  readonly plan: RestorePlan
  readonly target: RestoreTarget
  readonly filter: DocumentFilter
  readonly routes: CollectionRoutes
  readonly force: boolean
  readonly threads: number
  readonly changes: Throttle | undefined
  readonly journal: RestoreJournal
  readonly clock: Clock
  readonly random: Random
  readonly signal: AbortSignal
}

type Position = RestoreJournalDocument['positions'][number]

const checkpointIntervalMs = 5_000
/** What a restore that is stopped waits for answers; and for its last checkpoint. */
const stopGraceMs = 300
const lastCheckpointMs = 400

/**
 * Goes through the plan: several vbuckets at a time, each one's changes in their order, through all of
 * its objects. Every few seconds the journal says what is done and on the bucket's disks; a run that
 * goes on from there sends again what came behind it, at most.
 */
export class RestoreRun {
  /** Of this run and those that it goes on with. */
  readonly counts: RestoreCounts
  /** Bytes of keys and values that were gone through. */
  documentBytes = 0
  readonly #context: RestoreContext
  readonly #positions = new Map<number, Position>()
  readonly #senders = new Set<DocumentSender>()
  #checkpointing: Promise<void> | undefined

  constructor(context: RestoreContext, journal: RestoreJournalDocument | undefined) {
    this.#context = context
    this.counts = { ...(journal?.counts ?? { applied: 0, skipped: 0, filtered: 0 }) }
    for (const position of journal?.positions ?? []) this.#positions.set(position.vbid, position)
  }

  /** When it resolves, all of it is on the bucket's disks. */
  async run(): Promise<void> {
    const { clock, signal, target, journal } = this.#context
    await this.#checkpoint()
    const timer = clock.every(checkpointIntervalMs, () => this.#checkpointSoon())
    try {
      await untilStopped(this.#sendAll(timer), { signal, clock, graceMs: stopGraceMs })
    } catch (error) {
      timer.cancel()
      const last = this.#checkpoint().catch(() => {})
      await (signal.aborted ? Promise.race([last, pause(clock, lastCheckpointMs)]) : last)
      throw error
    } finally {
      timer.cancel()
      for (const sender of this.#senders) sender.close()
    }
    await untilStopped(target.untilPersisted(), { signal, clock, graceMs: 0 })
    await journal.remove()
  }

  async #sendAll(timer: Timer): Promise<void> {
    const { plan, threads } = this.#context
    const idle: DocumentSender[] = []
    await forEachOf(plan.vbuckets, threads, async sources => {
      const sender = idle.pop() ?? this.#newSender()
      await this.#sendVbucket(sources, sender)
      idle.push(sender)
    })
    timer.cancel()
    await this.#checkpointing
  }

  #newSender(): DocumentSender {
    const sender = new DocumentSender(this.#context)
    this.#senders.add(sender)
    return sender
  }

  async #sendVbucket({ vbid, objects }: VbucketSources, sender: DocumentSender): Promise<void> {
    const position = this.#positions.get(vbid)
    const begin = objects.findIndex(({ backupId }) => backupId === position?.backup)
    for (const [index, source] of objects.slice(Math.max(0, begin)).entries()) {
      const doneSeqno = index === 0 && begin !== -1 ? position!.seqno : 0
      if (doneSeqno < source.object.lastSeqno) await this.#sendObject(source, doneSeqno, sender)
    }
  }

  /** An object that was begun is read from its beginning again, so that all of it is checked. */
  async #sendObject(
    { backupId, object }: SourceObject,
    doneSeqno: number,
    sender: DocumentSender,
  ): Promise<void> {
    const { repository, key, signal } = this.#context
    const { vbid } = object
    for await (const records of readAhead(readBlocks({ repository, backupId, key }, object))) {
      signal.throwIfAborted()
      const { seqno } = records.at(-1)!
      if (seqno <= doneSeqno) continue
      const left = records.filter(record => record.seqno > doneSeqno)
      const selected = this.#selected(left)
      await sender.send(selected, this.counts)
      // Together, so that a checkpoint sees all of it or nothing.
      this.counts.filtered += left.length - selected.length
      for (const { key, value } of left) this.documentBytes += key.length + value.length
      this.#positions.set(vbid, { vbid, backup: backupId, seqno })
    }
  }

  #selected(records: ArchiveRecord[]): ArchiveRecord[] {
    const { filter, routes } = this.#context
    return records.filter(
      record =>
        routes.prefixOf(record.collectionId) !== undefined &&
        (filter.isOpen || filter.matches(record)),
    )
  }

  #checkpointSoon(): void {
    // One that fails is followed by another one; whoever sends finds out what is wrong.
    this.#checkpointing ??= this.#checkpoint()
      .catch(() => {})
      .finally(() => (this.#checkpointing = undefined))
  }

  /** What the bucket has answered by now is on its disks before the journal says that it is done. */
  async #checkpoint(): Promise<void> {
    const { target, journal } = this.#context
    const positions = [...this.#positions.values()]
    const counts = { ...this.counts }
    const seqnos = [...(await target.untilPersisted())]
    await journal.write({ counts, positions, seqnos })
  }
}
