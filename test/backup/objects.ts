import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { ObjectReader, type ObjectSummary } from '../../src/backup/archive/object-reader.ts'
import { ObjectWriter, type ObjectWriterOptions } from '../../src/backup/archive/object-writer.ts'
import type { ArchiveRecord, RecordKind } from '../../src/backup/archive/record.ts'
import type { Segment } from '../../src/backup/archive/segment-builder.ts'

const uint32 = fc.integer({ min: 0, max: 0xffffffff })

const change = fc.record({
  kind: fc.constantFrom<RecordKind>(1, 2, 3),
  step: fc.integer({ min: 1, max: 2 ** 40 }),
  cas: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  revno: fc.maxSafeNat(),
  flags: uint32,
  time: uint32,
  datatype: fc.integer({ min: 0, max: 255 }),
  collectionId: uint32,
  key: fc.uint8Array({ minLength: 1, maxLength: 250 }),
  value: fc.uint8Array({ maxLength: 2000, size: 'max' }),
})

/** Any row of changes that a vbucket can have. */
export const anyRecords = fc.array(change, { minLength: 1, maxLength: 60 }).map(changes => {
  let seqno = 0
  return changes.map(({ step, key, value, ...rest }): ArchiveRecord => {
    seqno += step
    return { ...rest, seqno, key: Buffer.from(key), value: Buffer.from(value) }
  })
})

export function record(seqno: number, key: string, value: string): ArchiveRecord {
  const bytes = { key: Buffer.from(key), value: Buffer.from(value) }
  const rest = { kind: 1, revno: 1, flags: 0, time: 0, datatype: 0, collectionId: 0 } as const
  return { ...rest, ...bytes, seqno, cas: BigInt(seqno) + 2n ** 63n }
}

/** Small enough that a few records make several blocks and segments. */
export const smallObject: Omit<ObjectWriterOptions, 'onSegment'> = {
  vbid: 7,
  compression: 'snappy',
  blockBytes: 1000,
  segmentBytes: 3000,
}

export interface Written {
  bytes: Buffer
  segments: Segment[]
  salt: string
}

export async function writeObject(
  records: readonly ArchiveRecord[],
  options: Partial<ObjectWriterOptions> = {},
): Promise<Written> {
  const segments: Segment[] = []
  const writer = new ObjectWriter({
    ...smallObject,
    ...options,
    onSegment: segment => {
      segments.push(segment)
      return Promise.resolve()
    },
  })
  for (const one of records) await writer.append(one)
  await writer.finish()
  const bytes = Buffer.concat(segments.flatMap(({ chunks }) => chunks))
  return { bytes, segments, salt: writer.salt }
}

/** Objects that are written in turns, a record of each at a time. */
export async function writeSideBySide(
  objects: readonly (readonly ArchiveRecord[])[],
  options: Partial<ObjectWriterOptions>,
): Promise<Buffer[]> {
  const segments = objects.map((): Segment[] => [])
  const writers = segments.map(
    list =>
      new ObjectWriter({
        ...smallObject,
        ...options,
        onSegment: segment => Promise.resolve(void list.push(segment)),
      }),
  )
  const longest = Math.max(...objects.map(records => records.length))
  for (let at = 0; at < longest; at++)
    for (const [index, writer] of writers.entries()) {
      const next = objects[index]![at]
      if (next) await writer.append(next)
    }
  await Promise.all(writers.map(writer => writer.finish()))
  return segments.map(list => Buffer.concat(list.flatMap(({ chunks }) => chunks)))
}

export async function* inChunks(
  bytes: Buffer,
  length = bytes.length,
): AsyncGenerator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length)
}

export async function readObject(
  bytes: Buffer,
  key?: Uint8Array,
  chunkLength?: number,
): Promise<{ records: ArchiveRecord[]; summary: ObjectSummary }> {
  const reader = new ObjectReader(inChunks(bytes, chunkLength), key)
  const records: ArchiveRecord[] = []
  for await (const one of reader.records()) records.push(one)
  return { records, summary: reader.summary! }
}

export const sha256 = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest()
