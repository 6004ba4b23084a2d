import { randomUUID } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import type { CompressionName } from '../archive/compression.ts'
import type { DataObject } from '../archive/documents.ts'
import { objectDigest, ObjectWriter } from '../archive/object-writer.ts'
import { noRecords, type RecordCounts } from '../archive/record-counts.ts'
import type { Segment } from '../archive/segment-builder.ts'
import { BackupError } from '../errors.ts'
import { evenRanges } from '../run/adoption.ts'
import { complete } from '../run/completion.ts'
import type { ObjectStore, Part, Upload } from '../store/object-store.ts'
import type { ArchiveRecord } from '../archive/record.ts'

export interface ObjectTarget {
  readonly store: ObjectStore
  /** Of the backup that the object is to belong to. */
  readonly prefix: string
  /** Below the prefix. */
  readonly key: string
  readonly clock: Clock
  readonly signal: AbortSignal
}

export interface ObjectFormat {
  readonly compression: CompressionName
  readonly repositoryKey: Uint8Array | undefined
  readonly blockBytes: number
  readonly segmentBytes: number
}

/** Takes over an object of another backup, as it is. */
export async function copyObject(
  target: ObjectTarget,
  sourceKey: string,
  object: DataObject,
): Promise<DataObject> {
  const { store, prefix, key } = target
  const upload = await store.createUpload(`${prefix}${key}`, randomUUID())
  const parts: Part[] = []
  for (const range of evenRanges(object.size, store.limits.partBytesMax, true))
    parts.push(await store.copyPart(upload, parts.length + 1, sourceKey, range))
  await completed(target, upload, parts)
  return { ...object, key }
}

async function completed(
  target: ObjectTarget,
  upload: Upload,
  parts: readonly Part[],
): Promise<void> {
  const completion = await complete(target, upload, parts)
  if (completion !== 'done')
    throw new BackupError('store', `the upload of ${upload.key} was lost: run it again`)
}

/**
 * An object while it is written. What fits into one segment is put at once; of more, an upload has a
 * part for each.
 */
export class MergedObject {
  readonly #target: ObjectTarget
  readonly #vbid: number
  readonly #format: ObjectFormat
  readonly #writer: ObjectWriter
  #upload: Upload | undefined
  readonly #parts: Part[] = []
  readonly #digests: string[] = []
  #size = 0
  #counts: Readonly<RecordCounts> = noRecords

  constructor(target: ObjectTarget, vbid: number, format: ObjectFormat) {
    this.#target = target
    this.#vbid = vbid
    this.#format = format
    this.#writer = new ObjectWriter({ vbid, ...format, onSegment: segment => this.#put(segment) })
  }

  /** A promise if the caller has to wait before it appends more. */
  append(record: ArchiveRecord): Promise<void> | undefined {
    return this.#writer.append(record)
  }

  /** What the manifest has to say of it; the changes that it stands for begin with `firstSeqno`. */
  async finish(firstSeqno: number): Promise<DataObject> {
    await this.#writer.finish()
    if (this.#upload) await completed(this.#target, this.#upload, this.#parts)
    return {
      key: this.#target.key,
      vbid: this.#vbid,
      size: this.#size,
      segments: this.#digests.length,
      sha256: objectDigest(this.#digests),
      firstSeqno,
      lastSeqno: this.#writer.lastSeqno,
      counts: { ...this.#counts },
    }
  }

  async #put(segment: Segment): Promise<void> {
    const { store, prefix, key, signal } = this.#target
    signal.throwIfAborted()
    // A segment that is not full is the last one.
    if (this.#digests.length === 0 && segment.size < this.#format.segmentBytes)
      await store.put(`${prefix}${key}`, Buffer.concat(segment.chunks, segment.size))
    else {
      this.#upload ??= await store.createUpload(`${prefix}${key}`, randomUUID())
      this.#parts.push(await store.putPart(this.#upload, this.#parts.length + 1, segment))
    }
    this.#digests.push(segment.sha256)
    this.#size += segment.size
    this.#counts = segment.counts
  }
}
