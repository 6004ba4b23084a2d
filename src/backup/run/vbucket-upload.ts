import { randomUUID } from 'node:crypto'
import type { ArrivedChange, SavedPosition } from '../../client/index.ts'
import { dataKey } from '../archive/layout.ts'
import { ObjectWriter } from '../archive/object-writer.ts'
import type { Segment } from '../archive/segment-builder.ts'
import { sizeOf, type Upload } from '../store/object-store.ts'
import { ArrivedRecord } from './arrived-record.ts'
import type { BackupContext } from './context.ts'
import type { Journal } from './journal.ts'
import type { WholeObject } from './pack-writer.ts'

/** A history and snapshot, and the first seqno that was taken in it. */
interface Stretch {
  readonly fromSeqno: number
  readonly position: SavedPosition
}

/** One for all: what it says is used up before the call ends. */
const record = new ArrivedRecord()

/**
 * The object of one vbucket while it grows: changes to segments, a segment to a part of the upload,
 * and then into the journal. Only what the journal has is not asked for again.
 */
export class VbucketUpload {
  readonly #context: BackupContext
  readonly #vbid: number
  readonly #writer: ObjectWriter
  #journal: Journal | undefined
  #upload: Upload | undefined
  #firstSeqno: number
  /** All there is of a small vbucket. */
  #whole: Segment | undefined
  /** Those that reach into what the journal does not have yet. */
  #stretches: Stretch[] = []

  constructor(context: BackupContext, vbid: number, journal: Journal | undefined) {
    this.#context = context
    this.#vbid = vbid
    this.#journal = journal
    this.#upload = journal?.upload
    this.#firstSeqno = journal?.firstSeqno ?? 0
    const { compression, blockBytes, spareBlocks, fillingBlocks } = context
    const { makers, segmentBytes, repositoryKey } = context
    this.#writer = new ObjectWriter({
      vbid,
      compression,
      blockBytes,
      spareBlocks,
      fillingBlocks,
      makers,
      segmentBytes,
      repositoryKey,
      ...(journal ? { progress: progressOf(journal) } : {}),
      onSegment: segment => this.#put(segment),
    })
  }

  /** What it has in memory. */
  get heldBytes(): number {
    return this.#writer.heldBytes
  }

  /** A promise if the caller has to wait before it appends more. */
  append(change: ArrivedChange): Promise<void> | undefined {
    const { seqno } = change
    if (change.isFirst) this.#stretches.push({ fromSeqno: seqno, position: change.position() })
    if (this.#firstSeqno === 0) this.#firstSeqno = seqno
    return this.#writer.appendForm(record.of(change))
  }

  /** All up to `position` was appended: brings it to safety; or answers with it, to be put into a pack. */
  async close(position: SavedPosition): Promise<WholeObject | undefined> {
    await this.#writer.finish()
    const vbid = this.#vbid
    const firstSeqno = this.#firstSeqno
    if (this.#whole) return { vbid, segment: this.#whole, firstSeqno, position }
    if (!this.#journal || this.#journal.position.seqno === position.seqno) return undefined
    // The vbucket has gone on without a change that the stream carries.
    await this.#keep({ ...this.#journal, position })
    return undefined
  }

  async #put(segment: Segment): Promise<void> {
    const { store, prefix, backupId, packBelow } = this.#context
    // What is less than a segment was ended by `close`: there is nothing behind it.
    if (!this.#upload && segment.size < packBelow) {
      this.#whole = segment
      return
    }
    this.#upload ??= await store.createUpload(`${prefix}${dataKey(this.#vbid)}`, randomUUID())
    const parts = this.#journal?.parts ?? []
    const part = await store.putPart(this.#upload, parts.length + 1, segment)
    segment.release?.()
    await this.#keep({
      format: 'holdfast-backup-journal',
      version: 1,
      backup: backupId,
      vbid: this.#vbid,
      upload: this.#upload,
      parts: [...parts, part],
      segments: [...(this.#journal?.segments ?? []), segment.sha256],
      salt: this.#writer.salt,
      firstSeqno: this.#firstSeqno,
      lastSeqno: segment.lastSeqno,
      counts: segment.counts,
      position: this.#positionAt(segment.lastSeqno),
    })
  }

  async #keep(journal: Journal): Promise<void> {
    await this.#context.keepJournal(journal)
    this.#journal = journal
  }

  #positionAt(seqno: number): SavedPosition {
    const at = this.#stretches.findLastIndex(stretch => stretch.fromSeqno <= seqno)
    this.#stretches = this.#stretches.slice(at)
    return { ...this.#stretches[0]!.position, seqno }
  }
}

function progressOf({ salt, segments, parts, lastSeqno, counts }: Journal) {
  return { salt, segments: segments.length, size: sizeOf(parts), lastSeqno, counts }
}
